//! What makes a disk the same disk tomorrow.

use serde::{Deserialize, Serialize};

/// Everything that tells one disk from another. Kernel names are not part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskIdentity {
    /// World-wide name, such as `0x5000c500a1b2c3d4` or `eui.0025385b71b0a1c2` (`ID_WWN`, `/sys/block/*/wwid`).
    pub wwn: Option<String>,
    /// Serial number as the disk reports it, blanks at the ends removed.
    pub serial: Option<String>,
    /// Maker's model name.
    pub model: Option<String>,
    /// Where it is plugged in (`ID_PATH`): `pci-0000:00:04.0`.
    pub path: Option<String>,
}

impl DiskIdentity {
    /// Whether both name the same physical disk: equal WWN, or else equal serial number (and model, where both
    /// have one). The place where it is plugged in says nothing: a replaced disk has the same.
    pub fn is_same_disk(&self, other: &Self) -> bool {
        if let (Some(a), Some(b)) = (&self.wwn, &other.wwn) {
            return a == b;
        }
        // One side could not read the WWN (another controller): the serial number decides.
        match (&self.serial, &other.serial) {
            (Some(a), Some(b)) => {
                a == b && (self.model.is_none() || other.model.is_none() || self.model == other.model)
            }
            _ => false,
        }
    }

    /// Whether the disk can be told from others at all, by WWN or serial number.
    pub fn is_unique(&self) -> bool {
        self.wwn.is_some() || self.serial.is_some()
    }

    /// The strongest identifier for people: "wwn 0x5…", "serial QM00001", "at pci-0000:00:04.0".
    pub fn describe(&self) -> String {
        if let Some(wwn) = &self.wwn {
            format!("wwn {wwn}")
        } else if let Some(serial) = &self.serial {
            format!("serial {serial}")
        } else if let Some(path) = &self.path {
            format!("at {path}")
        } else {
            "without any identifier".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DiskIdentity;

    fn disk(wwn: &str, serial: &str, model: &str, path: &str) -> DiskIdentity {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        DiskIdentity { wwn: some(wwn), serial: some(serial), model: some(model), path: some(path) }
    }

    #[test]
    fn the_same_disk_is_known_by_wwn_then_serial() {
        let a = disk("0x1", "S1", "M", "p1");
        assert!(a.is_same_disk(&disk("0x1", "other", "", "p2")));
        assert!(!a.is_same_disk(&disk("0x2", "S1", "M", "p1")));
        assert!(a.is_same_disk(&disk("", "S1", "M", "p9")));
        assert!(!a.is_same_disk(&disk("", "S1", "other model", "p1")));
        assert!(!disk("", "", "", "p1").is_same_disk(&disk("", "", "", "p1")));
    }
}
