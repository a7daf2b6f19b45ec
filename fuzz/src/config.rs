//! `local.conf`: whatever is accepted, and written again with our own quotes, means the same.

use config::{Config, Plain, Sources, load};

use super::place::Place;

/// The text of a configuration file.
pub fn config(bytes: &[u8]) -> bool {
    let place = Place::new();
    let read = |bytes: &[u8]| {
        let dir = place.target();
        std::fs::write(dir.join("local.conf"), bytes).unwrap();
        load(&Sources { dir: &dir, extra: &[], hostname: "web1" })
    };
    let first = read(bytes);
    match &first {
        Err(errors) => {
            assert!(!errors.errors.is_empty());
            assert!(!errors.to_string().is_empty());
        }
        Ok(config) => {
            config.warnings.iter().for_each(|warning| assert!(!warning.to_string().is_empty()));
            let text = written(config);
            let again = read(text.as_bytes()).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
            for (one, other) in config.effective.iter().zip(&again.effective) {
                assert_eq!((one.name, &one.plain), (other.name, &other.plain), "{text}");
            }
            assert_eq!(config.effective.len(), again.effective.len(), "{text}");
        }
    }
    place.check();
    first.is_ok()
}

/// What its files set, without the values that are not shown.
fn written(config: &Config) -> String {
    let mut text = String::new();
    let set = config.effective.iter().filter(|one| one.origin != config::Origin::Default);
    for setting in set {
        let value = match &setting.plain {
            Plain::One(value) => config::quote(value),
            Plain::List(items) => {
                let items: Vec<String> = items.iter().map(|item| config::quote(item)).collect();
                format!("( {} )", items.join(" "))
            }
        };
        text.push_str(&format!("{}={value}\n", setting.name));
    }
    text
}
