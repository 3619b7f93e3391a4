//! The page, which is in the program: no file is read, and none but these can be requested.

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::service::Service;

/// A file of the page.
struct File {
    path: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
}

macro_rules! file {
    ($path:literal, $name:literal, $media_type:literal) => {
        File { path: $path, media_type: $media_type, bytes: include_bytes!(concat!("../../page/", $name)) }
    };
}

const FILES: &[File] = &[
    file!("/", "index.html", "text/html; charset=utf-8"),
    file!("/page.css", "page.css", "text/css; charset=utf-8"),
    file!("/icon.svg", "icon.svg", "image/svg+xml"),
    file!("/api.js", "api.js", "text/javascript; charset=utf-8"),
    file!("/ask.js", "ask.js", "text/javascript; charset=utf-8"),
    file!("/captions.js", "captions.js", "text/javascript; charset=utf-8"),
    file!("/compare.js", "compare.js", "text/javascript; charset=utf-8"),
    file!("/copy.js", "copy.js", "text/javascript; charset=utf-8"),
    file!("/dom.js", "dom.js", "text/javascript; charset=utf-8"),
    file!("/failure.js", "failure.js", "text/javascript; charset=utf-8"),
    file!("/looking.js", "looking.js", "text/javascript; charset=utf-8"),
    file!("/maps.js", "maps.js", "text/javascript; charset=utf-8"),
    file!("/models.js", "models.js", "text/javascript; charset=utf-8"),
    file!("/page.js", "page.js", "text/javascript; charset=utf-8"),
    file!("/picture.js", "picture.js", "text/javascript; charset=utf-8"),
    file!("/recent.js", "recent.js", "text/javascript; charset=utf-8"),
    file!("/usage.js", "usage.js", "text/javascript; charset=utf-8"),
    file!("/words.js", "words.js", "text/javascript; charset=utf-8"),
    file!("/examples/cars.jpg", "examples/cars.jpg", "image/jpeg"),
    file!("/examples/cat.jpg", "examples/cat.jpg", "image/jpeg"),
    file!("/examples/dog.jpg", "examples/dog.jpg", "image/jpeg"),
    file!("/examples/fish.jpg", "examples/fish.jpg", "image/jpeg"),
];

/// Adds the page's files to the routes.
pub(super) fn add_to(mut router: Router<Arc<Service>>) -> Router<Arc<Service>> {
    for file in FILES {
        router = router.route(file.path, get(async || reply(file)));
    }
    router
}

fn reply(file: &'static File) -> impl IntoResponse {
    // A new version of the program is a new page.
    let cached = HeaderValue::from_static("no-cache");
    let media_type = HeaderValue::from_static(file.media_type);
    ([(CONTENT_TYPE, media_type), (CACHE_CONTROL, cached)], file.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small() {
        let bytes: usize = FILES.iter().map(|file| file.bytes.len()).sum();
        assert!(bytes < 150_000, "{bytes} bytes");
    }

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        let names = |folder: &std::path::Path| -> Vec<String> {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
            let files = entries.filter(|entry| entry.path().is_file());
            files.map(|entry| entry.file_name().into_string().unwrap()).collect()
        };
        for name in names(&folder).into_iter().filter(|name| name != "index.html") {
            assert!(FILES.iter().any(|file| file.path == format!("/{name}")), "{name}");
        }
        for name in names(&folder.join("examples")) {
            assert!(FILES.iter().any(|file| file.path == format!("/examples/{name}")), "{name}");
        }
    }
}
