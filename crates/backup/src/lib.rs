//! Copies file trees out and back, and proves that they are equal.
