//! Makes the recovered system boot on what is there now.
