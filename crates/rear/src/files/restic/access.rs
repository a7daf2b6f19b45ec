//! What a server of a repository wants to know of who asks: from the settings on the machine, from the rescue system's facts and a person
//! in a recovery. What was configured for one server is told to no other, and no secret is packed.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use image::Reach;
use repository::{Access, Error, FileKind, Id, Location};
use sys::Secret;

use super::TRIES;
use crate::context::{Context, is_rescue_system};
use crate::failure::{Failure, Result};
use crate::files::Carry;
use crate::workflow::recover::rescue_config;

/// The questions.
const REST_USERNAME: &str = "RESTIC_REST_USERNAME";
const REST_PASSWORD: &str = "RESTIC_REST_PASSWORD";
const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const CREDENTIALS_FILE: &str = "AWS_SHARED_CREDENTIALS_FILE";

/// What the configuration says.
pub fn configured(context: &Context) -> Result<Access> {
    let settings = context.settings();
    let mut access = Access {
        user: some(&settings.restic_rest_username),
        password: settings.restic_rest_password.clone(),
        key_id: settings.aws_access_key_id.clone(),
        secret_key: settings.aws_secret_access_key.clone(),
        region: settings.aws_default_region.clone(),
        authorities: settings.restic_cacert.clone(),
        patience: None,
        cancel: context.cancel.clone(),
    };
    if let Some(path) = &settings.aws_shared_credentials_file {
        if !access.key_id.is_empty() || access.secret_key.is_some() {
            return Err(Failure::refused(format!("{CREDENTIALS_FILE} and an access key are both set"))
                .hint("leave one of them out"));
        }
        let (key_id, secret_key) = credentials(path)?;
        (access.key_id, access.secret_key) = (key_id, Some(secret_key));
    }
    Ok(access)
}

/// What the rescue system must carry: whom to trust, and what is no secret.
pub fn carry(location: &Location, access: &Access) -> Result<Carry> {
    let mut carry = Carry {
        reach: Reach {
            place: location.to_string(),
            user: access.user.clone().unwrap_or_default(),
            key_id: access.key_id.clone(),
            region: access.region.clone(),
            authorities: None,
        },
        ..Carry::default()
    };
    if location.server().is_some_and(|server| server.tls) {
        if let Some(own) = &access.authorities {
            // Where a link leads: the rescue system has no links to what it does not have.
            let real = own.canonicalize().map_err(|error| {
                Failure::refused(format!("cannot read {}: {error}", own.display())).during("RESTIC_CACERT")
            })?;
            carry.files.push(real.to_string_lossy().into_owned());
            carry.reach.authorities = Some(real);
        } else if let Some(system) = repository::system_authorities() {
            carry.files.push(system.to_string_lossy().into_owned());
        }
    }
    Ok(carry)
}

/// What opens a server: what is known, completed by a person, and tried.
pub fn granted(context: &Context, location: &Location) -> Result<Access> {
    let mut access = known(context, location)?;
    let Some(server) = location.server() else { return Ok(access) };
    let is_store = matches!(location, Location::S3(_));
    let mut tries = 0;
    loop {
        let user = server.user.clone().or_else(|| access.user.clone());
        let asks_password = user.is_some() && server.password.is_none() && access.password.is_none();
        if is_store {
            ask_key(context, location, &mut access)?;
        } else if asks_password {
            let question = format!("Password of {} for {location}:", user.unwrap_or_default());
            access.password = Some(context.ui.ask_secret(REST_PASSWORD, &question, &context.cancel)?);
        }
        let tried =
            location.backend(&access).and_then(|backend| backend.has(FileKind::Config, Id::default()));
        match tried {
            Ok(_) => return Ok(access),
            Err(error @ Error::Denied { .. }) if tries < TRIES && context.ui.is_interactive() => {
                tries += 1;
                context.ui.warn(error.to_string());
                (access.password, access.secret_key) = (None, None);
                if is_store {
                    access.key_id.clear();
                } else if server.user.is_none() {
                    let question = format!("User for {location}:");
                    access.user = some(&context.ui.ask(REST_USERNAME, &question, &context.cancel)?);
                }
            }
            Err(error @ Error::Denied { .. }) => return Err(Failure::refused(error.to_string())),
            Err(error) => return Err(error.into()),
        }
    }
}

fn ask_key(context: &Context, location: &Location, access: &mut Access) -> Result<()> {
    if access.key_id.is_empty() {
        let question = format!("Name of the access key for {location}:");
        access.key_id = context.ui.ask(KEY_ID, &question, &context.cancel)?;
    }
    if access.secret_key.is_none() {
        let question = format!("Access key {} for {location}:", access.key_id);
        access.secret_key = Some(context.ui.ask_secret(SECRET_KEY, &question, &context.cancel)?);
    }
    Ok(())
}

/// What is known already. A recovery point that somebody else has made may name any server: only the one that is configured is
/// told what is configured.
fn known(context: &Context, location: &Location) -> Result<Access> {
    if is_rescue_system() {
        let reach = rescue_config()?.means.reach;
        return Ok(Access {
            user: some(&reach.user),
            key_id: reach.key_id,
            region: reach.region,
            authorities: reach.authorities,
            cancel: context.cancel.clone(),
            ..Access::default()
        });
    }
    let own = Location::parse(context.settings().restic_repository.expose()).ok();
    let own = own.as_ref().and_then(Location::server);
    let asked = location.server();
    let is_same = matches!((own, asked), (Some(own), Some(asked)) if own.is_same_as(asked));
    let mut access = match is_same {
        true => configured(context)?,
        false => Access {
            authorities: context.settings().restic_cacert.clone(),
            cancel: context.cancel.clone(),
            ..Access::default()
        },
    };
    // A seal names the user, and never the password that the address may have.
    if let (true, Some(own), Some(asked)) = (is_same, own, asked)
        && own.user.is_some()
        && own.user == asked.user
        && own.password.is_some()
    {
        access.password = own.password.clone();
    }
    Ok(access)
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Name and key of the section `[default]` of a file of credentials.
fn credentials(path: &Path) -> Result<(String, Secret)> {
    let refuse = |detail: String| {
        Err(Failure::refused(format!("{}: {detail}", path.display())).during(CREDENTIALS_FILE))
    };
    let (text, metadata) = match std::fs::read_to_string(path).and_then(|text| Ok((text, path.metadata()?))) {
        Ok(read) => read,
        Err(error) => return refuse(format!("cannot be read: {error}")),
    };
    if metadata.permissions().mode() & 0o077 != 0 {
        return refuse(format!(
            "others than its owner (user {}) may read it; chmod 600 changes that",
            metadata.uid()
        ));
    }
    let (mut key_id, mut secret_key, mut is_default) = (None, None, false);
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            is_default = section.strip_suffix(']').map(str::trim) == Some("default");
        } else if let (true, Some((name, value))) = (is_default, line.split_once('=')) {
            match name.trim() {
                "aws_access_key_id" => key_id = some(value.trim()),
                "aws_secret_access_key" => secret_key = some(value.trim()),
                _ => {}
            }
        }
    }
    match (key_id, secret_key) {
        (Some(key_id), Some(secret_key)) => Ok((key_id, Secret::new(secret_key))),
        _ => {
            refuse("aws_access_key_id and aws_secret_access_key are not both in its section [default]".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_and_must_be_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        let write = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let text = "[other]\naws_access_key_id=X\naws_secret_access_key = Y\n\n# mine\n[default]\n\
                    aws_access_key_id = AKID\naws_secret_access_key=a=b/c+d\n[third]\naws_access_key_id=Z\n";
        write(text, 0o600);
        let (key_id, secret_key) = credentials(&path).unwrap();
        assert_eq!((key_id.as_str(), secret_key.expose()), ("AKID", "a=b/c+d"));
        write(text, 0o640);
        assert!(credentials(&path).unwrap_err().message.contains("chmod 600"));
        write("[default]\naws_access_key_id=AKID\n", 0o600);
        let message = credentials(&path).unwrap_err().message;
        assert!(message.contains("[default]") && !message.contains("AKID"), "{message}");
    }

    #[test]
    fn what_is_carried_is_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap().join("ca.pem");
        std::fs::write(&real, "x").unwrap();
        std::os::unix::fs::symlink(&real, dir.path().join("link")).unwrap();
        let access = Access {
            user: Some("me".into()),
            password: Some(Secret::new("hidden1")),
            key_id: "AKID".into(),
            secret_key: Some(Secret::new("hidden2")),
            authorities: Some(dir.path().join("link")),
            ..Access::default()
        };
        let location = Location::parse("s3:https://host/bucket").unwrap();
        let carry = carry(&location, &access).unwrap();
        assert_eq!(carry.files, [real.to_str().unwrap()]);
        assert_eq!(carry.reach.authorities.as_ref(), Some(&real));
        let text = serde_json::to_string(&carry.reach).unwrap();
        assert!(text.contains("AKID") && text.contains("me") && !text.contains("hidden"), "{text}");
        let plain = super::carry(&Location::parse("rest:http://host/").unwrap(), &access).unwrap();
        assert_eq!(plain.files, [""; 0]);
    }
}
