//! Networks as `ip` of iproute2 6.1 (Debian 12) prints them.
