//! The storage model: disks, tables, filesystems, mounts, and what differs between two of them.
