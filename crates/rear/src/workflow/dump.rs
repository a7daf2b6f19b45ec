//! `rear dump`: what this system is, which configuration was read, and every effective setting with its origin.

use serde_json::json;

use crate::context::Context;
use crate::failure::Result;

/// Prints it; reads only.
pub fn run(context: &Context) -> Result<()> {
    context.show_config_warnings();
    let release = os_release();
    let system = [
        ("HOSTNAME", context.hostname.clone()),
        ("ARCH", std::env::consts::ARCH.to_owned()),
        ("KERNEL", sys::info::kernel_release()),
        ("OS_VENDOR", release("ID")),
        ("OS_VERSION", release("VERSION_ID")),
        ("OS_NAME", release("PRETTY_NAME")),
    ];
    if context.common.json {
        let files: Vec<_> = context
            .config
            .files
            .iter()
            .map(|file| json!({"path": file.path, "present": file.present}))
            .collect();
        let settings: Vec<_> = context
            .config
            .effective
            .iter()
            .map(|setting| {
                json!({"name": setting.name, "value": setting.plain, "origin": setting.origin.to_string(),
                       "secret": setting.secret})
            })
            .collect();
        let system: serde_json::Map<_, _> =
            system.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        context.ui.event(&json!({"system": system, "files": files, "settings": settings}));
        return Ok(());
    }
    let say = |text: String| context.ui.say(text);
    say(format!("# rear {}: configuration and system information", env!("CARGO_PKG_VERSION")));
    say("# System definition:".into());
    for (name, value) in system {
        say(format!("  {name}={}", config::quote(&value)));
    }
    say("# Configuration files:".into());
    for file in &context.config.files {
        say(format!("  {} : {}", file.path.display(), if file.present { "OK" } else { "missing/empty" }));
    }
    say("# Effective settings, and where each was set:".into());
    let assignments: Vec<_> = context
        .config
        .effective
        .iter()
        .map(|setting| (format!("{}={}", setting.name, setting.value), setting.origin.to_string()))
        .collect();
    let width =
        assignments.iter().map(|(text, _)| text.chars().count()).filter(|w| *w <= 60).max().unwrap_or(0);
    for (text, origin) in assignments {
        say(format!("  {text:width$}  # {origin}"));
    }
    say("# End of configuration and system information.".into());
    Ok(())
}

/// Values of os-release(5) by their names.
fn os_release() -> impl Fn(&str) -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    move |name| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim_matches(['"', '\'']).to_owned())
            .unwrap_or_default()
    }
}
