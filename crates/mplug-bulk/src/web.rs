//! Web addresses among the inputs: failures until [`open_addresses`] opens them, then pictures that are fetched when they are
//! read. What may be requested, and how, whoever fetches decides; nothing here opens a connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mplug_data::picture::{Failure, Remedy};
use mplug_data::source::{FetchPicture, PictureSource, RemotePicture};
use sha2::{Digest as _, Sha256};

use crate::hex::hex;
use crate::inputs::Input;

/// Longest part of a file name that is taken from an address.
const MAX_STEM: usize = 60;
/// Longest ending of a file name that is taken from an address.
const MAX_ENDING: usize = 5;

/// Makes the web addresses of a list readable: `fetcher` gets each when it is read.
pub fn open_addresses(inputs: &mut [Input], fetcher: &Arc<dyn FetchPicture>) {
    for input in inputs.iter_mut().filter(|input| input.source.is_err() && is_address(&input.path)) {
        input.source = match input.path.to_str() {
            Some(url) => Ok(PictureSource::Remote(RemotePicture::new(url.to_owned(), Arc::clone(fetcher)))),
            None => Err(Failure::lasting("is a web address that is not UTF-8")),
        };
    }
}

/// The guarded fetcher of `mplug-hub` as a source of pictures.
#[cfg(feature = "urls")]
#[derive(Debug)]
pub struct HubFetcher(pub mplug_hub::fetch::PictureFetcher);

#[cfg(feature = "urls")]
impl FetchPicture for HubFetcher {
    fn fetch(&self, url: &str, max_bytes: u64) -> Result<Vec<u8>, mplug_data::source::NotFetched> {
        use mplug_data::source::HostNotAllowed;
        use mplug_hub::fetch::FetchFault;

        self.0.get(url, max_bytes).map_err(|error| mplug_data::source::NotFetched {
            is_passing: error.is_passing(),
            // The fault alone: the message names the address as it was given.
            source: match error.fault {
                fault @ FetchFault::NotPublic { .. } => Box::new(HostNotAllowed(fault.into())),
                fault => fault.into(),
            },
        })
    }
}

/// Whether a name is a web address.
pub fn is_address(path: &Path) -> bool {
    let name = path.as_os_str().as_encoded_bytes();
    ["http://", "https://"].iter().any(|scheme| {
        name.split_at_checked(scheme.len())
            .is_some_and(|(start, _)| start.eq_ignore_ascii_case(scheme.as_bytes()))
    })
}

/// A web address that is not opened. A password in it is taken out: names are written to outputs and messages.
pub(crate) fn closed(path: &Path) -> Input {
    let path = path.to_str().map_or_else(|| path.to_owned(), |url| without_password(url).into());
    let failure = Failure::lasting("is a web address, and nothing is downloaded unasked");
    Input::failing(path, failure.with_remedy(Remedy::WebAddresses))
}

fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, target) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}{target}"),
        None => url.to_owned(),
    }
}

/// A file name for what belongs to the picture of a web address: `HOST/NAME-HASH.ENDING`, of characters that are plain everywhere. The
/// hash, of the whole address, keeps `a.jpg?id=1` and `a.jpg?id=2` apart, and `x/a.jpg` and `y/a.jpg`.
pub(crate) fn place(url: &str) -> PathBuf {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let name = path.rsplit('/').next().unwrap_or_default();
    let (stem, ending) = match name.rsplit_once('.') {
        Some((stem, ending)) if (1..=MAX_ENDING).contains(&ending.len()) => (stem, ending),
        _ => (name, ""),
    };
    let plain = |text: &str| -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        text.chars().map(plain).take(MAX_STEM).collect()
    };
    // A host keeps its full stops; as names are plain, none is `..`.
    let folder = host.split('.').filter(|label| !label.is_empty()).map(plain).collect::<Vec<_>>().join(".");
    let hash = hex(&Sha256::digest(url.as_bytes())[..6]);
    let (stem, ending) = (plain(stem), plain(ending));
    let name = if ending.is_empty() { format!("{stem}-{hash}") } else { format!("{stem}-{hash}.{ending}") };
    if folder.is_empty() { name.into() } else { Path::new(&folder).join(name) }
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use super::*;

    #[test]
    fn addresses_are_detected_by_their_beginning() {
        for yes in ["http://a", "https://a/b.jpg", "HTTPS://a", "http://"] {
            assert!(is_address(Path::new(yes)), "{yes}");
        }
        for no in ["", "http:/a", "https", "file:///a", "ftp://a", "a/http://b", "httpx://a"] {
            assert!(!is_address(Path::new(no)), "{no}");
        }
    }

    #[test]
    fn passwords_are_taken_out() {
        assert_eq!(without_password("https://me:s3cret@h/a@b?c=d@e"), "https://…@h/a@b?c=d@e");
        assert_eq!(without_password("https://h/a@b"), "https://h/a@b");
        assert!(!closed(Path::new("https://me:s3cret@h")).path.to_string_lossy().contains("s3cret"));
    }

    #[test]
    fn places_are_plain_and_different() {
        assert_eq!(
            place("https://example.org/photos/cat.jpg"),
            Path::new("example.org/cat-945363706a09.jpg")
        );
        let urls = [
            "https://h/a.jpg",
            "http://h/a.jpg",
            "https://h/b/a.jpg",
            "https://h/a.jpg?id=1",
            "https://h/a.jpg?id=2",
            "https://h/",
            "https://h",
            "https://h/..",
            "https://h/../../etc/passwd",
            "https://../..",
            "https://.../a",
            "https:///etc/passwd",
            "https://h/a%2f..%2fb.jpg",
            "https://h/..\\..\\a.jpg",
            "https://h:80/a:b.jpg",
            "https://h/a.jpg/",
            "https://h/猫.jpg",
            "https://h/a\0b.jpg",
            "https://[::1]/a.jpg",
            "https://C:/a",
            "https://",
        ];
        let long = format!("https://{}/{}.{}", "h".repeat(300), "n".repeat(5000), "e".repeat(5000));
        let places: Vec<PathBuf> = urls.into_iter().chain([long.as_str()]).map(place).collect();
        for (url, place) in urls.iter().zip(&places) {
            let text = place.to_str().unwrap();
            assert!(place.components().all(|part| matches!(part, Component::Normal(_))), "{url}: {text}");
            assert!(place.components().count() <= 2 && text.len() < 140, "{url}: {text}");
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
            assert!(text.chars().all(is_plain) && !text.contains(".."), "{url}: {text}");
        }
        let different: std::collections::HashSet<_> = places.iter().collect();
        assert_eq!(different.len(), places.len());
    }
}
