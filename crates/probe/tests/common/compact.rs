//! Keeps recordings of machines small: superblocks are nearly all zeros, so runs of zero bytes in recorded
//! hexadecimal digits are written as `(COUNT)`.

use serde_json::Value;

/// Shortest run that is replaced.
const RUN: usize = 16;

/// Shortens a recording.
#[allow(dead_code)]
pub fn compact(json: &str) -> String {
    let mut value: Value = serde_json::from_str(json).unwrap_or_default();
    each_hex(&mut value, &|hex| {
        let bytes: Vec<&str> = (0..hex.len() / 2).filter_map(|i| hex.get(2 * i..2 * i + 2)).collect();
        let mut out = String::new();
        for group in bytes.chunk_by(|a, b| (*a == "00") == (*b == "00")) {
            if group.first() == Some(&"00") && group.len() >= RUN {
                out.push_str(&format!("({})", group.len()));
            } else {
                out.extend(group.iter().copied());
            }
        }
        out
    });
    let mut text = serde_json::to_string_pretty(&value).unwrap_or_default();
    text.push('\n');
    text
}

/// Restores a recording.
#[allow(dead_code)]
pub fn expand(json: &str) -> String {
    let mut value: Value = serde_json::from_str(json).unwrap_or_default();
    each_hex(&mut value, &|hex| {
        let mut out = String::new();
        for piece in hex.split('(') {
            let rest = match piece.split_once(')') {
                Some((count, rest)) => {
                    out.push_str(&"00".repeat(count.parse().unwrap_or(0)));
                    rest
                }
                None => piece,
            };
            out.push_str(rest);
        }
        out
    });
    value.to_string()
}

fn each_hex(value: &mut Value, change: &dyn Fn(&str) -> String) {
    let Some(answers) = value.as_object_mut() else { return };
    for answer in answers.values_mut() {
        if let Some(Value::String(hex)) = answer.get_mut("hex") {
            *hex = change(hex);
        }
    }
}
