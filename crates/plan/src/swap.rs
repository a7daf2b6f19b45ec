//! Swap space made again: UUID, label and page size. It never switches swap on.

use layout::{Swap, SwapFile};

use crate::Command;

/// What keeps this swap space from being made again; `None` when nothing does.
pub(crate) fn refuse(swap: &Swap) -> Option<String> {
    if swap.page_size != 0 && !swap.page_size.is_power_of_two() {
        return Some(format!("swap space for pages of {} bytes cannot exist", swap.page_size));
    }
    // 16 bytes in the header, the last one is a zero (mm/swapfile.c, union swap_header).
    if swap.label.len() > 15 {
        return Some(format!("the swap label '{}' is longer than 15 bytes", swap.label));
    }
    None
}

/// What stands in the place of the UUID where there is none.
const NO_UUID: &str = "00000000-0000-0000-0000-000000000000";

/// The commands that make it on this device.
pub(crate) fn commands(swap: &Swap, device: &str) -> Vec<Command> {
    let mut args = vec!["--force".to_owned()];
    if swap.page_size != 0 {
        args.extend(["--pagesize".into(), swap.page_size.to_string()]);
    }
    if !swap.label.is_empty() {
        args.extend(["--label".into(), swap.label.clone()]);
    }
    // "clear" is a word for the same of util-linux 2.38 and later.
    let uuid = if swap.uuid.is_empty() { NO_UUID } else { &swap.uuid };
    args.extend(["--uuid".into(), uuid.to_owned(), device.to_owned()]);
    vec![Command::new("mkswap", args)]
}

/// The commands that make the file at `path`, which has its size already, swap space again. They run when the files of
/// the machine are in their places.
pub fn swap_file_commands(file: &SwapFile, path: &str) -> Vec<Command> {
    commands(&file.swap, path)
}
