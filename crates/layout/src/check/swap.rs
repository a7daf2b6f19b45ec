//! What must hold of every swap file in a layout. Says nothing of what can be made again.

use std::collections::BTreeSet;

use crate::Layout;

/// The kernel's smallest page, and with it the smallest swap space: a page for the header and ten to swap to
/// (`mm/swapfile.c` needs one, `mkswap` refuses less than ten pages).
const SMALLEST: u64 = 10 * 4096;

/// Says every rule that a swap file of the layout breaks, naming the file.
pub(super) fn check(layout: &Layout, say: &mut impl FnMut(String)) {
    let mut paths = BTreeSet::new();
    for file in &layout.swap_files {
        let path = &file.path;
        if !paths.insert(path) {
            say(format!("two swap files are called {path}"));
        }
        let parts = || path.split('/').skip(1);
        let plain = parts().all(|part| !part.is_empty() && part != "." && part != "..");
        if !path.starts_with('/') || !plain || path.contains('\0') {
            say(format!("'{path}' is no absolute path of a swap file"));
        }
        match layout.device(&file.device) {
            None => say(format!("the swap file {path} lies on {}, which is not here", file.device)),
            Some(device) => match device.filesystem() {
                None => {
                    say(format!("the swap file {path} lies on {}, which carries no filesystem", device.path))
                }
                // A filesystem over several devices is as large as all of them.
                Some(_) if file.size > device.size && !spans(device) => say(format!(
                    "the swap file {path} has {} bytes, {} that carries it only {}",
                    file.size.0, device.path, device.size.0
                )),
                Some(_) => {}
            },
        }
        if file.size.0 < SMALLEST {
            say(format!("the swap file {path} has {} bytes, too few for swap space", file.size.0));
        }
        if !file.swap.page_size.is_power_of_two() || file.swap.page_size < 4096 {
            say(format!("the swap file {path}: a page of {} bytes is impossible", file.swap.page_size));
        }
        if file.mode > 0o7777 {
            say(format!("the swap file {path}: {:o} are no permission bits", file.mode));
        }
    }
}

fn spans(device: &crate::Device) -> bool {
    crate::tree::btrfs_of(device).is_some_and(|btrfs| btrfs.devices > 1)
}
