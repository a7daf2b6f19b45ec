//! Saved layouts: what is accepted is written as the same, shown, compared, and planned on blank disks; nothing is run.

use std::collections::BTreeMap;

use layout::{Layout, LvmGroupText};
use plan::Plan;

/// The JSON of a layout.
pub fn layout(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(layout) = Layout::from_json(text) else { return false };
    let again = Layout::from_json(&layout.to_json().unwrap()).unwrap();
    assert_eq!(layout, again, "what was written reads otherwise");
    let changes = layout::diff(&layout, &again);
    assert!(changes.is_empty(), "it differs from itself: {changes:?}");
    layout.tree();
    layout.svg("note");
    for disk in layout.disks() {
        layout.subtree(&disk.id);
        plan::minimum_size(&layout, disk);
    }
    if let Ok(plan) = plan::recoverable(&layout) {
        look(&plan);
    }
    // The machine as it was, of which nothing may be taken that is in use.
    let protected = layout.disks().map(|disk| (disk.id.clone(), "it is in use".into())).collect();
    for protected in [BTreeMap::new(), protected] {
        if let Ok(fit) = plan::fit(&layout, &again, &protected, &plan::Choices::default()) {
            assert!(fit.disks.iter().all(|place| !protected.contains_key(&place.present)));
            if let Ok(plan) = plan::plan(&layout, &again, fit, "point", "/mnt/local") {
                look(&plan);
            }
        }
    }
    plan::disturbances(&layout, &again);
    plan::assemble_found(&layout, &[]);
    plan::found_mounts(&layout, &again);
    let preserved = plan::preserved(&layout, &again);
    plan::still_there(&layout, &preserved);
    true
}

fn look(plan: &Plan) {
    let again = Plan::from_json(&plan.to_json().unwrap()).unwrap();
    assert_eq!(*plan, again, "what was written reads otherwise");
    assert_eq!(plan.fingerprint(), again.fingerprint());
    plan.tools();
    for step in &plan.steps {
        assert!(!step.describe().is_empty());
        step.commands();
    }
}

/// LVM's own text.
pub fn lvm(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    if let Ok(section) = layout::parse_lvm_text(text) {
        let written = layout::write_lvm_text(&section);
        assert_eq!(layout::parse_lvm_text(&written).as_ref(), Ok(&section), "{written}");
    }
    LvmGroupText::parse(text).is_ok()
}
