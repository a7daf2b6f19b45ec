//! Asking the running machine: its layout and what of it is covered.

use layout::{Bytes, Layout};
use probe::{Coverage, Decision, Rules};

use crate::context::Context;
use crate::failure::Result;

/// This machine's storage, and the decision about every part of it.
pub struct Machine {
    /// All of it.
    pub layout: Layout,
    /// What is captured, what is left out and why, what cannot be recovered.
    pub coverage: Coverage,
    /// The part of the layout that a recovery makes again.
    pub wanted: Layout,
}

impl Machine {
    /// Bytes in use on the filesystems that are archived.
    pub fn data_bytes(&self) -> u64 {
        let hollow: u64 = self.wanted.swap_files.iter().map(|file| file.size.get()).sum();
        let used: u64 = self
            .coverage
            .rows
            .iter()
            .filter(|row| {
                matches!(row.decision, Decision::Captured | Decision::Partly { .. } | Decision::Kept { .. })
                    && self.coverage.mounts.contains(&row.what)
            })
            .filter_map(|row| row.bytes)
            .map(Bytes::get)
            .sum();
        used.saturating_sub(hollow)
    }
}

/// Probes the machine and applies the rules of the configuration.
pub fn probe(context: &Context) -> Result<Machine> {
    let layout = probe::machine(&context.sys)?;
    let coverage = cover(context, &layout)?;
    let mut wanted = probe::reduce(&layout, &coverage);
    super::luks::mark(&mut wanted, context.settings());
    Ok(Machine { layout, coverage, wanted })
}

/// Applies the rules of the configuration to what was probed.
pub fn cover(context: &Context, layout: &Layout) -> Result<Coverage> {
    let settings = context.settings();
    let rules = Rules {
        exclude_backup: &settings.exclude_backup,
        exclude_mountpoints: &settings.exclude_mountpoints,
        autoexclude_path: &settings.autoexclude_path,
        waive: &settings.coverage_waive,
        exclude_components: &settings.exclude_components,
        only_include: settings.only_include.as_deref(),
        exclude_recreate: &settings.exclude_recreate,
        exclude_vg: &settings.exclude_vg,
        only_include_vg: &settings.only_include_vg,
        exclude_md: &settings.exclude_md,
        autoexclude_multipath: settings.autoexclude_multipath == config::Tristate::Yes,
        autoexclude_usb_path: &settings.autoexclude_usb_path,
        blockclone: &settings.blockclone_source_dev,
        autoexclude_disks: settings.autoexclude_disks != config::Tristate::No,
    };
    Ok(probe::coverage(&context.sys, layout, &rules)?)
}
