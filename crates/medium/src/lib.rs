//! Puts an image into the world as an ISO, and reads back what it wrote.
