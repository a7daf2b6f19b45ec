//! Asking the running machine: its layout and what of it is covered.

use layout::Layout;
use probe::{Coverage, Rules};

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

/// Probes the machine and applies the rules of the configuration.
pub fn probe(context: &Context) -> Result<Machine> {
    let layout = probe::machine(&context.sys)?;
    let settings = context.settings();
    let exclude: Vec<String> =
        settings.exclude_backup.iter().chain(&settings.exclude_mountpoints).cloned().collect();
    let components: Vec<String> =
        settings.exclude_components.iter().chain(&settings.exclude_recreate).cloned().collect();
    let rules = Rules {
        exclude_mounts: &exclude,
        autoexclude_path: &settings.autoexclude_path,
        waive: &settings.coverage_waive,
        exclude_components: &components,
        autoexclude_disks: settings.autoexclude_disks != config::Tristate::No,
    };
    let coverage = probe::coverage(&context.sys, &layout, &rules)?;
    let wanted = probe::reduce(&layout, &coverage);
    Ok(Machine { layout, coverage, wanted })
}
