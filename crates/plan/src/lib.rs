//! Where a saved layout goes on present disks, and the ordered actions that bring it there.
