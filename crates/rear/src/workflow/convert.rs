//! `rear config convert FILE`: a configuration that is a shell program becomes plain assignments, once.

use std::path::Path;

use crate::failure::{Code, Failure, Result};
use crate::ui::Ui;

/// Prints the converted text; warnings go to standard error, so that the output can be redirected.
pub fn run(sys: &sys::Real, ui: &Ui, file: &Path) -> Result<()> {
    let converted = config::convert(sys, file).map_err(|error| {
        if let config::Error::File(_) = error {
            return Failure::new(Code::Usage, error.to_string()).hint("name the file with its path");
        }
        Failure::failed(error.to_string())
            .hint("the file itself is unchanged; run it with bash to see what it does")
    })?;
    for warning in &converted.warnings {
        ui.warn(warning);
    }
    crate::ui::out(converted.text.trim_end());
    Ok(())
}
