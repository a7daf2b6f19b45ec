//! `site.conf`, `local.conf` and `-C` files to typed settings; every error with file, line, key and the nearest
//! valid form.
//!
//! Configuration files keep the shell-assignment syntax that users have, but they are parsed, never executed
//! ([`load`]). Each setting is declared once (`table`): parsing, `rear dump` ([`Config::effective`]), `rear
//! config convert` ([`convert()`]) and the documentation ([`reference_markdown`]) all come from there.
//!
//! Only [`convert()`] runs a program; [`load`] reads the configuration files and nothing else of the machine.

mod compress;
mod convert;
mod cursor;
mod diagnostic;
mod load;
mod location;
mod quote;
mod reader;
mod reference;
mod rsync;
mod settings;
mod suggest;
mod syntax;
pub mod table;
mod values;
mod word;

pub use compress::{Codec, Compression};
pub use convert::{Converted, Error, convert};
pub use diagnostic::{Diagnostic, Errors, Severity};
pub use load::{Config, ConfigFile, Effective, Origin, Plain, Sources, defaults, load};
pub use location::Location;
pub use quote::quote;
pub use reference::reference_markdown;
pub use settings::{Address, Backup, IoPriority, IsoDefault, Output, Settings, SshFiles, Tristate};
pub(crate) use values::Value;
