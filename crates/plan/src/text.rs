//! The plan as the operator reads it before saying yes.

use std::fmt::Write;

use crate::{Action, Danger, Plan};

impl Plan {
    /// Per disk what happens to it, then the numbered steps. Ends in a newline.
    pub fn text(&self) -> String {
        self.render(false)
    }

    /// The same, with the commands of each step.
    pub fn text_verbose(&self) -> String {
        self.render(true)
    }

    fn render(&self, verbose: bool) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "Disks:");
        for place in &self.fit.disks {
            let fate = match &place.erases {
                Some(content) => format!("WILL BE ERASED, loses {content}"),
                None => "will be written, is blank now".to_owned(),
            };
            let about = self.fit.about.get(&place.present).unwrap_or(&place.device);
            let _ = writeln!(out, "  {about}: recreate, {fate}");
            let _ = writeln!(out, "      takes the place of {}: {}", place.saved, place.why);
        }
        for (id, why) in &self.fit.untouched {
            let about = self.fit.about.get(id).unwrap_or(&id.0);
            let state = if why.starts_with(crate::preserve::WORD) { "preserve" } else { "ignore" };
            let _ = writeln!(out, "  {about}: {state}, not touched ({why})");
        }
        let _ = writeln!(out, "Steps:");
        for step in &self.steps {
            let mark = if step.danger == Danger::Erases { " (!)" } else { "" };
            let _ = writeln!(out, "{:4}. {}{mark}", step.id, step.describe());
            if verbose {
                let _ = writeln!(out, "      because: {}", step.why);
                for command in step.commands() {
                    for (i, line) in command.line().lines().enumerate() {
                        let _ = writeln!(out, "      {} {line}", if i == 0 { "$" } else { "|" });
                    }
                }
                if let Action::WipeDisk { .. } | Action::ClearDevice { .. } = step.action {
                    let _ = writeln!(out, "      # zeroes, written by rear itself");
                }
            }
        }
        if !self.swap_files.is_empty() {
            let _ = writeln!(out, "When the files are restored:");
        }
        for file in &self.swap_files {
            let label =
                if file.swap.label.is_empty() { String::new() } else { format!(" '{}'", file.swap.label) };
            let uuid = if file.swap.uuid.is_empty() {
                String::new()
            } else {
                format!(" with UUID {}", file.swap.uuid)
            };
            let _ =
                writeln!(out, "      make the swap file{label} {} of {} again{uuid}", file.path, file.size);
            if verbose {
                for command in crate::swap_file_commands(file, &file.path) {
                    let _ = writeln!(out, "      $ {}", command.line());
                }
            }
        }
        out
    }
}
