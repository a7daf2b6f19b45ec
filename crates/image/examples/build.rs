//! Builds a rescue image from a prepared tree: `build ROOT OUTPUT REAR-BINARY`. For looking at the result by hand.

use std::path::{Path, PathBuf};
use std::time::Instant;

use image::{Recipe, RescueConfig, Ssh};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [root, output, rear] = args.as_slice() else {
        return Err("usage: build ROOT OUTPUT REAR-BINARY".into());
    };
    let root = Path::new(root);
    let release = match std::fs::read_dir(root.join("lib/modules"))?.flatten().next() {
        Some(entry) => entry.file_name().to_string_lossy().into_owned(),
        None => return Err("no kernel modules below the root".into()),
    };
    let recipe = Recipe {
        root,
        kernel_release: release,
        kernel_file: None,
        rear_binary: PathBuf::from(rear),
        progs: Vec::new(),
        required_progs: Vec::new(),
        libs: Vec::new(),
        copy_as_is: Vec::new(),
        copy_as_is_exclude: Vec::new(),
        modules: vec!["all_modules".to_owned()],
        exclude_modules: Vec::new(),
        modules_load: Vec::new(),
        firmware_files: Vec::new(),
        keymap: String::new(),
        ssh: Ssh::On { root_password_hash: None, authorized_keys: true },
        console_password_hash: None,
        rescue: RescueConfig {
            format: 1,
            hostname: "example".to_owned(),
            recovery_point: String::new(),
            created: 0,
            volume_id: String::new(),
            backup_dir: None,
            network: image::network::Network::default(),
            use_dhcp: None,
            serial_consoles: Vec::new(),
            modules_load: Vec::new(),
            console_password: false,
            ssh: true,
            pre_recovery_script: Vec::new(),
            post_recovery_script: Vec::new(),
            disks_to_be_wiped: Vec::new(),
            exclude_restore: Vec::new(),
            exclude_device_mapping: Vec::new(),
            rebuild_initramfs: None,
            means: image::Means::default(),
        },
        payload: Vec::new(),
        level: 3,
        threads: sys::info::processors(),
        cancel: sys::Cancel::default(),
    };
    let started = Instant::now();
    let image = image::build(&sys::Real::default(), &recipe, Path::new(output))?;
    println!("{image:#?}\n{} ms", started.elapsed().as_millis());
    Ok(())
}
