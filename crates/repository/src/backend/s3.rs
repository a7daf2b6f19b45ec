//! A repository in a bucket of an object store that speaks Amazon's S3: MinIO, Ceph, Garage, Amazon and others. Buckets are named in
//! the path, requests are signed (version 4), and a file is one object. Nothing is written in parts.

use std::sync::Mutex;

use sys::Secret;

use super::http::{self, Access, Answer, Call, Client};
use super::sigv4::{self, Signed, Signer};
use super::{Backend, FileKind, xml};
use crate::error::{Error, Result};
use crate::id::Id;
use crate::locked;
use crate::server::Bucket;

/// The region where none is named, as every program has it.
const REGION: &str = "us-east-1";
/// Amazon's name for all regions: its servers answer for the first region alone.
const AMAZON: &str = "s3.amazonaws.com";

/// The bucket.
pub struct S3 {
    client: Client,
    place: String,
    bucket: Bucket,
    key_id: String,
    secret_key: Secret,
    /// The one that is named, until the server names another.
    region: Mutex<String>,
}

/// One request, before it is signed.
#[derive(Clone, Copy, Default)]
struct Wish<'a> {
    method: &'static str,
    /// Below the bucket.
    key: &'a str,
    query: &'a [(&'a str, &'a str)],
    range: Option<(u64, usize)>,
    body: Option<&'a [u8]>,
}

impl S3 {
    /// That bucket; nothing is asked yet.
    ///
    /// # Errors
    /// The certificates of the authorities to trust cannot be read, or no access key is given.
    pub fn new(bucket: &Bucket, access: &Access, place: &str) -> Result<Self> {
        let denied = |detail: &str| Error::Denied { place: place.to_owned(), detail: detail.to_owned() };
        let secret_key = access.secret_key.clone().filter(|key| !key.is_empty());
        let (Some(secret_key), false) = (secret_key, access.key_id.is_empty()) else {
            return Err(denied("an access key is needed, and none is given"));
        };
        let region = if access.region.is_empty() { REGION } else { &access.region };
        Ok(Self {
            client: Client::new(bucket.server.tls, place, access)?,
            place: place.to_owned(),
            bucket: bucket.clone(),
            key_id: access.key_id.clone(),
            secret_key,
            region: Mutex::new(region.to_owned()),
        })
    }

    /// The name of the object for a file.
    fn key(&self, kind: FileKind, id: Id) -> String {
        self.below(&kind.path(id))
    }

    fn below(&self, name: &str) -> String {
        match self.bucket.prefix.as_str() {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        }
    }

    fn call<'b>(&self, wish: &Wish<'b>, region: &str) -> Call<'b> {
        let server = &self.bucket.server;
        let host = match server.host == AMAZON && region != REGION {
            true => format!("s3.{region}.amazonaws.com"),
            false => server.authority(),
        };
        let path = match wish.key {
            "" => format!("/{}", sigv4::encode(&self.bucket.name, false)),
            key => format!("/{}/{}", sigv4::encode(&self.bucket.name, false), sigv4::encode(key, true)),
        };
        let mut headers = vec![("host", host.clone())];
        headers.extend(wish.range.map(|(offset, length)| http::range(offset, length)));
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let signer = Signer { key_id: &self.key_id, secret_key: &self.secret_key, region, time: &time };
        let body = wish.body.unwrap_or_default();
        headers.extend(signer.headers(&Signed {
            method: wish.method,
            path: &path,
            query: wish.query,
            headers: &headers,
            body,
        }));
        // It is in the address, too.
        headers.retain(|(name, _)| *name != "host");
        let query = match wish.query {
            [] => String::new(),
            pairs => format!("?{}", sigv4::query(pairs)),
        };
        let scheme = if server.tls { "https" } else { "http" };
        Call { method: wish.method, url: format!("{scheme}://{host}{path}{query}"), headers, body: wish.body }
    }

    /// Asks, and asks again where the server says that the bucket lies in another region.
    fn ask(&self, what: &str, wish: &Wish<'_>) -> Result<Answer> {
        loop {
            let region = locked(&self.region).clone();
            let answer = self.client.ask(what, &mut || self.call(wish, &region))?;
            match elsewhere(&answer) {
                Some(other) if other != region => *locked(&self.region) = other,
                _ => return Ok(answer),
            }
        }
    }

    fn fail(&self, what: &str, answer: &Answer) -> Error {
        let code = xml::text(&String::from_utf8_lossy(&answer.body), "Code").unwrap_or_default();
        let place = self.place.clone();
        match (answer.status, code.as_str()) {
            (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch") => {
                Error::Denied { place, detail: format!("the access key is wrong ({code})") }
            }
            (_, "RequestTimeTooSkewed") => Error::Denied {
                place,
                detail: "the clock of this machine is wrong by more than it permits".into(),
            },
            (_, "QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded") => {
                Error::Full { place }
            }
            (301 | 307 | 308, _) => Error::io(format!("{what} at {place}"))(std::io::Error::other(format!(
                "the bucket is at another address: {}",
                answer.words()
            ))),
            (403, "") => {
                Error::Denied { place, detail: "the access key is wrong, or permits too little".into() }
            }
            _ => answer.refusal(what, &self.place),
        }
    }

    /// Asks for what must succeed.
    fn demand(&self, what: &str, wish: &Wish<'_>) -> Result<Answer> {
        let answer = self.ask(what, wish)?;
        if answer.is_success() { Ok(answer) } else { Err(self.fail(what, &answer)) }
    }
}

/// The region that the server wants instead.
fn elsewhere(answer: &Answer) -> Option<String> {
    if !matches!(answer.status, 301 | 307 | 400) {
        return None;
    }
    let header = answer.headers.get("x-amz-bucket-region").and_then(|value| value.to_str().ok());
    let text = String::from_utf8_lossy(&answer.body);
    let region = header.map(str::to_owned).or_else(|| xml::text(&text, "Region"))?;
    let is_word = !region.is_empty() && region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    is_word.then_some(region)
}

impl Backend for S3 {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn create(&self) -> Result<()> {
        let what = "look for the bucket";
        let answer = self.ask(what, &Wish { method: "HEAD", ..Wish::default() })?;
        if answer.status != 404 {
            return if answer.is_success() { Ok(()) } else { Err(self.fail(what, &answer)) };
        }
        let region = locked(&self.region).clone();
        let text = match region.as_str() {
            REGION => String::new(),
            region => format!(
                "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                 <LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
            ),
        };
        let wish = Wish { method: "PUT", body: Some(text.as_bytes()), ..Wish::default() };
        self.demand("make the bucket", &wish).map(|_| ())
    }

    fn has(&self, kind: FileKind, id: Id) -> Result<bool> {
        let key = self.key(kind, id);
        let what = format!("look for {key}");
        let answer = self.ask(&what, &Wish { method: "HEAD", key: &key, ..Wish::default() })?;
        match answer.status {
            404 => Ok(false),
            _ if answer.is_success() => Ok(true),
            _ => Err(self.fail(&what, &answer)),
        }
    }

    fn list(&self, kind: FileKind) -> Result<Vec<(Id, u64)>> {
        let directory = format!("{}/", self.below(kind.directory()));
        let what = format!("list {directory}");
        let (mut found, mut next) = (Vec::new(), None::<String>);
        loop {
            let mut query = vec![("list-type", "2"), ("prefix", directory.as_str())];
            query.extend(next.as_deref().map(|token| ("continuation-token", token)));
            let answer = self.ask(&what, &Wish { method: "GET", query: &query, ..Wish::default() })?;
            let text = String::from_utf8_lossy(&answer.body);
            // A bucket that is not there has no files.
            if answer.status == 404 && xml::text(&text, "Code").as_deref() == Some("NoSuchBucket") {
                return Ok(Vec::new());
            }
            if !answer.is_success() {
                return Err(self.fail(&what, &answer));
            }
            let strange = |detail: &str| {
                Error::io(format!("{what} at {}", self.place))(std::io::Error::other(detail.to_owned()))
            };
            if !text.contains("<ListBucketResult") || !text.contains("</ListBucketResult>") {
                return Err(strange("the answer is no list: is this an object store?"));
            }
            for object in xml::elements(&text, "Contents") {
                let (Some(key), Some(size)) = (xml::text(object, "Key"), xml::text(object, "Size")) else {
                    return Err(strange("the list has an object without name or size"));
                };
                let name = key.rsplit('/').next().unwrap_or_default();
                if let (Some(id), Ok(size)) = (Id::parse(name), size.trim().parse()) {
                    found.push((id, size));
                }
            }
            if xml::text(&text, "IsTruncated").as_deref() != Some("true") {
                return Ok(found);
            }
            let token = xml::text(&text, "NextContinuationToken").filter(|token| !token.is_empty());
            if token.is_none() || token == next {
                return Err(strange("the list has more, and does not say how to get it"));
            }
            next = token;
        }
    }

    fn read(&self, kind: FileKind, id: Id) -> Result<Vec<u8>> {
        let key = self.key(kind, id);
        let wish = Wish { method: "GET", key: &key, ..Wish::default() };
        Ok(self.demand(&format!("read {key}"), &wish)?.body)
    }

    fn read_range(&self, pack: Id, offset: u64, length: usize) -> Result<Vec<u8>> {
        if length == 0 {
            return Ok(Vec::new());
        }
        let key = self.key(FileKind::Pack, pack);
        let what = format!("read {key}");
        let wish = Wish { method: "GET", key: &key, range: Some((offset, length)), ..Wish::default() };
        http::stretch(self.demand(&what, &wish)?, offset, length, &what, &self.place)
    }

    fn write(&self, kind: FileKind, id: Id, bytes: &[u8]) -> Result<()> {
        let key = self.key(kind, id);
        let wish = Wish { method: "PUT", key: &key, body: Some(bytes), ..Wish::default() };
        self.demand(&format!("write {key}"), &wish).map(|_| ())
    }

    fn remove(&self, kind: FileKind, id: Id) -> Result<()> {
        let key = self.key(kind, id);
        let what = format!("remove {key}");
        let answer = self.ask(&what, &Wish { method: "DELETE", key: &key, ..Wish::default() })?;
        let code = xml::text(&String::from_utf8_lossy(&answer.body), "Code").unwrap_or_default();
        match answer.status {
            404 => Ok(()),
            403 | 405 if matches!(code.as_str(), "AccessDenied" | "MethodNotAllowed") => {
                Err(Error::KeepsAll { place: self.place.clone() })
            }
            _ if answer.is_success() => Ok(()),
            _ => Err(self.fail(&what, &answer)),
        }
    }
}
