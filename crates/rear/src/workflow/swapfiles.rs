//! Swap files: made again when the files are restored, looked at again in the proof, and what they mean for hibernation.
//! Switches nothing on.

use std::path::Path;

use layout::{Layout, SwapFile};
use sys::SysExt;

use crate::context::Context;
use crate::failure::Result;

/// The option of the kernel that says where in its filesystem a swap file begins.
const OFFSET: &str = "resume_offset=";

/// Says that hibernation into a swap file needs a new offset after a recovery: the file lies elsewhere then.
pub fn warn(context: &Context, wanted: &Layout) -> Result<()> {
    let text = context.sys.read_opt("/proc/cmdline")?.unwrap_or_default();
    if let Some(option) = offset_of(&text).filter(|_| !wanted.swap_files.is_empty()) {
        context.ui.warn(format!(
            "this machine hibernates into a swap file ({option}). A recovered machine boots and swaps as before, but the file \
             lies at another place of its filesystem: {OFFSET} must be set anew before it hibernates (the recovery says so \
             again, and names the files)"
        ));
    }
    Ok(())
}

fn offset_of(command_line: &str) -> Option<&str> {
    command_line.split_whitespace().find(|word| word.starts_with(OFFSET))
}

/// Makes the swap files of the plan again below `root`. What cannot be made is a problem of the recovery, not its end:
/// everything else is there.
pub fn make(context: &Context, files: &[SwapFile], root: &Path, problems: &mut Vec<String>) -> Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let stage = context.ui.stage("swap files");
    let mut made = Vec::new();
    for file in files {
        stage.note(&file.path);
        match apply::swap_file(&context.sys, root, file, &context.cancel) {
            Ok(()) => made.push(format!("{} of {}", file.path, file.size)),
            Err(sys::Error::Cancelled) => return Err(sys::Error::Cancelled.into()),
            Err(error) => problems.push(format!(
                "the swap file {} was not made again: {error}; remove it or its line in /etc/fstab, or make it by hand",
                file.path
            )),
        }
    }
    for path in boot::names_resume_offset(root) {
        context.ui.warn(format!(
            "{} has {OFFSET}, which was right for the old disk: before this machine hibernates, set it to the place of the swap \
             file (filefrag -v FILE, the first physical block; on btrfs: btrfs inspect-internal map-swapfile -r FILE) and \
             update the boot loader's configuration",
            path.display()
        ));
    }
    match made.as_slice() {
        [] => stage.done("none was made"),
        made => stage.done(format!("{}, tried by the kernel", made.join(", "))),
    }
    Ok(())
}

/// The saved swap files as they are below `root` now.
pub fn found(context: &Context, saved: &[SwapFile], root: &Path) -> Result<Vec<SwapFile>> {
    let mut found = Vec::new();
    for file in saved {
        let here = root.join(file.path.trim_start_matches('/'));
        if let Some(now) = probe::swap_file(&context.sys, &here.to_string_lossy(), &file.device)? {
            found.push(SwapFile { path: file.path.clone(), ..now });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_the_whole_option_counts() {
        let line = "root=UUID=1 resume=UUID=1 resume_offset=34816 quiet";
        assert_eq!(super::offset_of(line), Some("resume_offset=34816"));
        assert_eq!(super::offset_of("root=UUID=1 resume=UUID=2"), None);
    }
}
