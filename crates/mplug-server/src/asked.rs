//! A request's body as pictures and fields, whichever way it came: a picture's bytes with fields in the query, a form, or JSON.

use axum::body::{Body, Bytes};
use axum::extract::multipart::MultipartError;
use axum::extract::{FromRequest, Multipart};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Request};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{ApiError, Code};
use crate::pictures::Sent;

/// Fields of queries and forms that are numbers.
const NUMBERS: [&str; 7] =
    ["answers", "beams", "captions", "diverse", "max_new_tokens", "min_new_tokens", "tags"];
/// Fields that are lists, one entry for each time that they come.
const LISTS: [&str; 3] = ["forbid", "include", "texts"];
/// Fields that are lists with commas.
const WITH_COMMAS: [&str; 1] = ["language"];
/// Fields that are true or false.
const SWITCHES: [&str; 1] = ["check"];
/// Most values of a JSON body. A value takes at least 32 bytes of memory, a character of the body is enough for one.
const MOST_VALUES: usize = 10_000;
/// Most parts of a form.
const MOST_PARTS: usize = 1000;

/// What a client asks: pictures, each of which may be no picture, and fields.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) pictures: Vec<Result<Sent, ApiError>>,
    fields: Map<String, Value>,
}

/// A set of fields with known names.
pub(crate) trait Fields: DeserializeOwned {
    /// The names.
    const NAMES: &'static [&'static str];
}

impl Asked {
    /// Reads a body that was received.
    ///
    /// # Errors
    /// If it is of a kind that is not read, or malformed.
    pub(crate) async fn read(parts: Parts, body: Vec<u8>) -> Result<Self, ApiError> {
        let media_type = media_type(&parts.headers);
        match media_type.as_deref() {
            Some("application/json") => {
                refuse_query(&parts)?;
                Self::from_json(&body)
            }
            Some("multipart/form-data") => Self::from_form(parts, body.into()).await,
            None | Some("application/octet-stream") => Self::from_picture(&parts, body),
            Some(image) if image.starts_with("image/") => Self::from_picture(&parts, body),
            Some(other) => {
                let expected = "image/*, application/octet-stream, multipart/form-data or application/json";
                let message = format!("content-type: expected {expected}, found {other}");
                Err(ApiError::new(Code::UnsupportedMediaType, message))
            }
        }
    }

    fn from_picture(parts: &Parts, body: Vec<u8>) -> Result<Self, ApiError> {
        Ok(Self { pictures: vec![Ok(Sent::Bytes(body))], fields: typed(query(parts)?) })
    }

    async fn from_form(parts: Parts, body: Bytes) -> Result<Self, ApiError> {
        let malformed = |error: MultipartError| {
            ApiError::new(Code::InvalidRequest, format!("the form is malformed: {}", error.body_text()))
        };
        // What stands in both is the form's.
        let of_query = query(&parts)?;
        let request = Request::from_parts(parts, Body::from(body));
        let form = Multipart::from_request(request, &()).await;
        let mut form = form.map_err(|error| ApiError::new(Code::InvalidRequest, error.body_text()))?;
        let (mut pictures, mut pairs) = (Vec::new(), of_query);
        while let Some(field) = form.next_field().await.map_err(malformed)? {
            if pictures.len() + pairs.len() == MOST_PARTS {
                let message = format!("the form: expected at most {MOST_PARTS} parts, found more");
                return Err(ApiError::new(Code::InvalidRequest, message));
            }
            let name = field.name().unwrap_or_default().trim_end_matches("[]").to_owned();
            if ["image", "images", "file"].contains(&name.as_str()) {
                pictures.push(Ok(Sent::Bytes(field.bytes().await.map_err(malformed)?.into())));
            } else {
                pairs.push((name, field.text().await.map_err(malformed)?));
            }
        }
        Ok(Self { pictures, fields: typed(pairs) })
    }

    fn from_json(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = json_object(body)?;
        let texts: Vec<Value> = match (fields.remove("image"), fields.remove("images")) {
            (Some(image), None) => vec![image],
            (None, Some(Value::Array(images))) => images,
            (None, Some(_)) => return Err(ApiError::value("images", "a list", "something else")),
            (None, None) => Vec::new(),
            (Some(_), Some(_)) => {
                return Err(ApiError::value("images", "`image` or `images`", "both"));
            }
        };
        let read = |value: Value| match value {
            Value::String(text) => Sent::from_text(&text),
            _ => Err(ApiError::new(Code::UnreadablePicture, "expected a text, found another JSON value")),
        };
        Ok(Self { pictures: texts.into_iter().map(read).collect(), fields })
    }

    /// The fields.
    ///
    /// # Errors
    /// For a field that is unknown or has a value of another kind.
    pub(crate) fn fields<F: Fields>(&mut self) -> Result<F, ApiError> {
        let fields = std::mem::take(&mut self.fields);
        if let Some(unknown) = fields.keys().find(|name| !F::NAMES.contains(&name.as_str())) {
            let unknown: String = unknown.chars().take(64).collect();
            let message = format!("expected the fields {}, found `{unknown}`", F::NAMES.join(", "));
            return Err(ApiError::new(Code::InvalidRequest, message).of(unknown));
        }
        // `null` says that nothing is requested.
        let fields = fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
        serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
            let path = error.path().to_string();
            ApiError::new(Code::InvalidValue, format!("{path}: {}", error.inner())).of(path)
        })
    }
}

/// The fields of a query.
fn query(parts: &Parts) -> Result<Vec<(String, String)>, ApiError> {
    serde_urlencoded::from_str(parts.uri.query().unwrap_or_default())
        .map_err(|_| ApiError::new(Code::InvalidRequest, "the query is malformed"))
}

/// Refuses fields that stand where they would not be read.
fn refuse_query(parts: &Parts) -> Result<(), ApiError> {
    match parts.uri.query().filter(|query| !query.is_empty()) {
        Some(_) => {
            let message =
                "the query: expected none beside a JSON body, found one: its fields belong in the body";
            Err(ApiError::new(Code::InvalidRequest, message))
        }
        None => Ok(()),
    }
}

/// The object of a JSON body.
///
/// # Errors
/// If it is none, or has more values than any request needs.
pub(crate) fn json_object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if has_more_values(body, MOST_VALUES) {
        let message = format!("the body: expected a JSON object of at most {MOST_VALUES} values, found more");
        return Err(ApiError::new(Code::InvalidRequest, message));
    }
    serde_json::from_slice(body).map_err(|error| {
        ApiError::new(Code::InvalidRequest, format!("the body: expected a JSON object: {error}"))
    })
}

/// Whether a JSON text has more than `most` values. Each value but the first comes after a comma or a bracket that is in no string.
fn has_more_values(body: &[u8], most: usize) -> bool {
    let (mut values, mut is_string, mut is_escaped) = (1, false, false);
    for byte in body {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_string,
            b'"' => is_string = !is_string,
            b',' | b'[' | b'{' if !is_string => values += 1,
            _ => {}
        }
        if values > most {
            return true;
        }
    }
    false
}

/// The media type without its parameters, in lower case.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().unwrap_or("?");
    let name = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    Some(name).filter(|name| !name.is_empty())
}

/// Texts of a query or a form as the JSON values that they mean. What is no number stays a text, which an error then names.
fn typed(pairs: Vec<(String, String)>) -> Map<String, Value> {
    let mut fields = Map::new();
    for (name, text) in pairs {
        if LISTS.contains(&name.as_str()) {
            if let Some(list) = fields.entry(name).or_insert_with(|| Value::Array(Vec::new())).as_array_mut()
            {
                list.push(Value::String(text));
            }
            continue;
        }
        let value = if WITH_COMMAS.contains(&name.as_str()) {
            text.split(',').map(|part| Value::String(part.trim().to_owned())).collect()
        } else if NUMBERS.contains(&name.as_str()) {
            text.parse().map_or(Value::String(text), Value::Number)
        } else if SWITCHES.contains(&name.as_str()) {
            match text.as_str() {
                "true" | "1" => Value::Bool(true),
                "false" | "0" => Value::Bool(false),
                _ => Value::String(text),
            }
        } else {
            Value::String(text)
        };
        fields.insert(name, value);
    }
    fields
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Known {
        captions: Option<usize>,
    }

    impl Fields for Known {
        const NAMES: &'static [&'static str] = &["captions"];
    }

    fn read(content_type: &str, target: &str, body: &[u8]) -> Result<Asked, ApiError> {
        let mut request = Request::builder().uri(target);
        if !content_type.is_empty() {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(Asked::read(parts, body.to_vec()))
    }

    #[test]
    fn three_ways_to_ask_are_one() {
        let expected =
            json!({ "captions": 3, "language": ["zh", "en"], "forbid": ["a", "b"], "check": true });
        let raw = read("image/png", "/?captions=3&language=zh,en&forbid=a&forbid=b&check=1", b"x").unwrap();
        let form = b"--b\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a\"\r\n\r\nx\r\n\
            --b\r\nContent-Disposition: form-data; name=\"captions\"\r\n\r\n3\r\n\
            --b\r\nContent-Disposition: form-data; name=\"language\"\r\n\r\nzh, en\r\n\
            --b\r\nContent-Disposition: form-data; name=\"forbid\"\r\n\r\na\r\n\
            --b\r\nContent-Disposition: form-data; name=\"forbid\"\r\n\r\nb\r\n\
            --b\r\nContent-Disposition: form-data; name=\"check\"\r\n\r\ntrue\r\n--b--\r\n";
        let form = read("Multipart/Form-Data; boundary=b", "/?captions=9", form).unwrap();
        let mut body = expected.clone();
        body["image"] = json!("eA==");
        let object = read("application/json; charset=utf-8", "/", body.to_string().as_bytes()).unwrap();
        for asked in [raw, form, object] {
            assert_eq!(asked.pictures, [Ok(Sent::Bytes(b"x".to_vec()))]);
            assert_eq!(Value::Object(asked.fields), expected);
        }
    }

    #[test]
    fn values_are_counted_before_they_take_memory() {
        let found = |text: &str, most| has_more_values(text.as_bytes(), most);
        let text = r#"{"a": [1, 2, "[,\"[,"], "b": {}}"#;
        assert!(found(text, 6) && !found(text, 7));
        assert!(!found(&format!(r#"{{"image": "{}"}}"#, ",".repeat(100_000)), 2));
        let many = format!(r#"{{"images": [{}0]}}"#, "0,".repeat(MOST_VALUES));
        let error = json_object(many.as_bytes()).unwrap_err();
        assert_eq!(error.code, Code::InvalidRequest);
        assert!(error.message.contains("at most 10000 values"), "{}", error.message);
        let part = "--b\r\nContent-Disposition: form-data; name=\"image\"\r\n\r\n\r\n";
        let form = part.repeat(MOST_PARTS + 1) + "--b--\r\n";
        let error = read("multipart/form-data; boundary=b", "/", form.as_bytes()).unwrap_err();
        assert!(error.message.contains("at most 1000 parts"), "{}", error.message);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let code = |content_type, target, body: &[u8]| {
            let fields = |mut asked: Asked| asked.fields::<Known>();
            read(content_type, target, body).and_then(fields).unwrap_err()
        };
        assert_eq!(code("text/plain", "/", b"").code, Code::UnsupportedMediaType);
        assert_eq!(code("application/json", "/", b"[1]").code, Code::InvalidRequest);
        let error = code("application/json", "/?captions=1", b"{}");
        assert!(error.message.starts_with("the query: expected none"), "{}", error.message);
        assert_eq!(code("application/json", "/", &b"[".repeat(100_000)).code, Code::InvalidRequest);
        assert_eq!(code("application/json", "/", b"{\"image\":\"\xff\"}").code, Code::InvalidRequest);
        assert_eq!(code("multipart/form-data", "/", b"").code, Code::InvalidRequest);
        let error = code("", "/?captions=many", b"x");
        assert_eq!((error.code, error.param.as_deref()), (Code::InvalidValue, Some("captions")));
        let error = code("", "/?capshuns=1", b"x");
        assert_eq!((error.code, error.param.as_deref()), (Code::InvalidRequest, Some("capshuns")));
        assert!(error.message.contains("captions"), "{}", error.message);
        let mut good = read("", "/?captions=2", b"x").unwrap();
        assert_eq!(good.fields::<Known>().unwrap().captions, Some(2));
    }
}
