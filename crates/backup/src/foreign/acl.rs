//! ACLs as tar writes them, in words, to the form in which Linux keeps them. Text in, bytes out.

use std::collections::HashMap;

/// Numbers of users and groups by their names.
#[derive(Clone, Debug, Default)]
pub struct Names {
    users: HashMap<Vec<u8>, u32>,
    groups: HashMap<Vec<u8>, u32>,
}

impl Names {
    /// Takes over what a `passwd` file says.
    pub fn add_users(&mut self, passwd: &[u8]) {
        add(&mut self.users, passwd);
    }

    /// Takes over what a `group` file says.
    pub fn add_groups(&mut self, group: &[u8]) {
        add(&mut self.groups, group);
    }
}

/// Name and number are the first and the third field of both.
fn add(names: &mut HashMap<Vec<u8>, u32>, text: &[u8]) {
    for line in text.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        let (Some(name), Some(number)) = (fields.next(), fields.nth(1)) else { continue };
        let number = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
        if let Some(number) = number.filter(|_| !name.is_empty()) {
            names.entry(name.to_vec()).or_insert(number);
        }
    }
}

/// Whether it says no more than the mode does; Linux keeps none then.
pub fn is_mode_alone(value: &[u8]) -> bool {
    value
        .get(4..)
        .unwrap_or_default()
        .as_chunks::<8>()
        .0
        .iter()
        .all(|entry| matches!(entry[0], 0x01 | 0x04 | 0x20))
}

/// The `system.posix_acl_*` value of a text such as `user::rw-,user:lp:r--,group::r--,mask::r--,other::r--`. The error says
/// what in it is not understood.
pub fn binary(text: &[u8], names: &Names) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is no text".to_owned())?;
    let mut entries: Vec<(u16, u32, u16)> = Vec::new();
    for entry in text.split([',', '\n']).map(|entry| entry.split('#').next().unwrap_or_default().trim()) {
        if entry.is_empty() {
            continue;
        }
        let wrong = || format!("'{entry}' is no entry of one");
        let mut fields = entry.split(':');
        let (Some(tag), Some(who), Some(bits)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(wrong());
        };
        // Some programs write the number behind.
        let number: Option<u32> = fields.next().and_then(|field| field.parse().ok());
        let id = |known: &HashMap<Vec<u8>, u32>, what: &str| -> Result<u32, String> {
            let by_name = || known.get(who.as_bytes()).copied();
            let found = number.or_else(|| who.parse().ok()).or_else(by_name);
            found.ok_or_else(|| format!("the {what} {who} is not known"))
        };
        let (tag, id) = match (tag, who.is_empty()) {
            ("user" | "u", true) => (0x01, u32::MAX),
            ("user" | "u", false) => (0x02, id(&names.users, "user")?),
            ("group" | "g", true) => (0x04, u32::MAX),
            ("group" | "g", false) => (0x08, id(&names.groups, "group")?),
            ("mask" | "m", true) => (0x10, u32::MAX),
            ("other" | "o", true) => (0x20, u32::MAX),
            _ => return Err(wrong()),
        };
        let mut permissions = 0;
        for letter in bits.chars() {
            permissions |= match letter {
                'r' => 4,
                'w' => 2,
                'x' => 1,
                '-' => 0,
                _ => return Err(wrong()),
            };
        }
        entries.push((tag, id, permissions));
    }
    // The kernel wants them in this order.
    entries.sort_unstable();
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(permissions.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_become_what_linux_keeps() {
        let mut names = Names::default();
        names.add_users(b"root:x:0:0::/root:/bin/sh\nlp:x:7:7::/:/bin/false\nbroken\n");
        names.add_groups(b"adm:x:4:\n");
        let text = b"user::rw-,user:lp:r--,user:1000:rwx,group::r--,group:adm:-w-,mask::rwx,other::---";
        let value = binary(text, &names).unwrap();
        let entry = |tag: u16, bits: u16, id: u32| {
            [&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        let all = u32::MAX;
        let wanted = [
            2_u32.to_le_bytes().to_vec(),
            entry(1, 6, all),
            entry(2, 4, 7),
            entry(2, 7, 1000),
            entry(4, 4, all),
            entry(8, 2, 4),
            entry(16, 7, all),
            entry(32, 0, all),
        ]
        .concat();
        assert_eq!(value, wanted);
        let lines = b"user::rw-\nuser:ftp:r--:7\t#effective:r--\ngroup::r--\nmask::r--\nother::r--\n";
        assert_eq!(binary(lines, &names).unwrap()[12..20], entry(2, 4, 7));
        for (text, wanted) in
            [(&b"user:nobody:r--"[..], "user nobody"), (b"u", "no entry"), (b"user::rq-", "no entry")]
        {
            assert!(binary(text, &names).unwrap_err().contains(wanted), "{text:?}");
        }
    }
}
