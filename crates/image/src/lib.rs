//! Builds the rescue system's initramfs from this host.
