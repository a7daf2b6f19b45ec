//! Drives virtual machines that prove a recovery.
