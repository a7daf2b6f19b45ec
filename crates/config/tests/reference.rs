//! The manual in `docs/` is what the declaration of the settings says.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[test]
fn the_manual_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let fresh = config::reference_markdown();
    if std::env::var_os("REAR_UPDATE_DOCS").is_some() {
        std::fs::write(path, &fresh).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == fresh,
        "docs/configuration.md is not up to date; run REAR_UPDATE_DOCS=1 cargo test -p config"
    );
}
