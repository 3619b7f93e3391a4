//! The way that every request about pictures goes: accepted, received, read, given places, opened, worked on, answered.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use futures_util::future::join_all;
use mplug::tasks::Caption;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::asked::{Asked, Fields};
use crate::body::{Received, receive};
use crate::error::{ApiError, Code};
use crate::fetch::Fetched;
use crate::pictures::{Opened, Sent};
use crate::queue::Place;
use crate::service::{Accepted, Service};
use crate::work::Times;

/// A request that was read.
pub(crate) struct Pass<F> {
    pub(crate) service: Arc<Service>,
    pub(crate) accepted: Arc<Accepted>,
    pub(crate) pictures: Vec<Result<Sent, ApiError>>,
    pub(crate) fields: F,
    /// Counts as long as the pictures are held in it.
    received: Received,
}

/// What was found for a picture.
pub(crate) struct Answer {
    /// The picture's entry in the reply of our own routes.
    pub(crate) value: Map<String, Value>,
    pub(crate) times: Times,
    /// The texts that were written, best first; in the first language, where there are several.
    pub(crate) written: Vec<Caption>,
}

/// What was found for all pictures of a request.
pub(crate) struct Answers {
    pub(crate) results: Vec<Result<Answer, ApiError>>,
    pub(crate) time: Value,
}

impl<F: Fields> Pass<F> {
    /// Accepts, receives and reads a request.
    ///
    /// # Errors
    /// Where any of this fails, or there is no picture.
    pub(crate) async fn begin(service: Arc<Service>, request: Request) -> Result<Self, ApiError> {
        let accepted = Arc::new(service.accept()?);
        let (parts, body) = request.into_parts();
        let limits = &service.options.limits;
        let mut received = receive(&parts.headers, body, limits, &service.bodies).await?;
        let mut asked = Asked::read(parts, std::mem::take(&mut received.bytes)).await?;
        let (pictures, fields) = (std::mem::take(&mut asked.pictures), asked.fields()?);
        Self::of(service, accepted, received, pictures, fields)
    }
}

impl<F> Pass<F> {
    /// A request that was read by a way of its own.
    ///
    /// # Errors
    /// If it has no picture, or too many.
    pub(crate) fn of(
        service: Arc<Service>,
        accepted: Arc<Accepted>,
        received: Received,
        pictures: Vec<Result<Sent, ApiError>>,
        fields: F,
    ) -> Result<Self, ApiError> {
        let most = service.options.limits.images;
        if pictures.len() > most {
            let message = format!("images: expected at most {most}, found {}", pictures.len());
            return Err(ApiError::new(Code::TooManyImages, message).of("images"));
        }
        if pictures.is_empty() {
            return Err(ApiError::value("image", "a picture", "none"));
        }
        Ok(Self { service, accepted, pictures, fields, received })
    }

    /// Opens every picture at `sizes` and lets `work` find something about it, with `places` places each. A picture that fails alone
    /// fails the request; one of several is an entry.
    ///
    /// # Errors
    /// If there is no place, the answer is not there in time, or the only picture fails.
    pub(crate) async fn answer<W, R>(self, sizes: &[u32], places: usize, work: W) -> Result<Answers, ApiError>
    where
        W: Fn(Opened, Vec<Place>) -> R + Sync,
        R: Future<Output = Result<Answer, ApiError>> + Send,
    {
        let Self { service, accepted, pictures, received, .. } = self;
        let is_alone = pictures.len() == 1;
        let (service, work) = (&service, &work);
        let found = async {
            // An address may be slow and costs the models nothing: it has no place in the queue before its picture is there.
            let fetched = pictures.into_iter().map(async |sent| service.opener.bytes(sent?).await);
            let fetched = join_all(fetched).await;
            let mut taken = service.queue.take(places * fetched.len())?;
            let each = fetched.into_iter().map(|fetched| {
                let places = taken.split_off(taken.len() - places);
                async move {
                    let Fetched { bytes, place } = fetched?;
                    drop(place);
                    let opened = service.opener.open(bytes, sizes).await?;
                    let decode = opened.time;
                    service.metrics.decoded(decode);
                    work(opened, places).await.map(|answer| (answer, decode))
                }
            });
            Ok::<_, ApiError>(join_all(each).await)
        };
        let limit = service.options.limits.answer_timeout;
        let found = timeout(limit, found).await;
        drop((accepted, received));
        let found = found.map_err(|_| {
            let seconds = limit.as_secs_f32();
            ApiError::new(Code::Timeout, format!("the answer was not there after {seconds} s"))
        })??;
        Answers::new(found, is_alone)
    }
}

impl Answers {
    fn new(found: Vec<Result<(Answer, Duration), ApiError>>, is_alone: bool) -> Result<Self, ApiError> {
        let (mut times, mut decode) = (Times::default(), Duration::ZERO);
        let mut results = Vec::with_capacity(found.len());
        for found in found {
            if let (Err(error), true) = (&found, is_alone) {
                return Err(error.clone());
            }
            results.push(found.map(|(answer, time)| {
                times.queue = times.queue.max(answer.times.queue);
                times.model = times.model.max(answer.times.model);
                decode = decode.max(time);
                answer
            }));
        }
        let seconds = |time: Duration| (time.as_secs_f64() * 1e4).round() / 1e4;
        let time = json!({
            "decode": seconds(decode), "queue": seconds(times.queue), "model": seconds(times.model),
        });
        Ok(Self { results, time })
    }

    /// The reply of our own routes.
    pub(crate) fn into_reply(self, id: &str, model: &str) -> Value {
        let entry = |result: Result<Answer, ApiError>| match result {
            Ok(answer) => Value::Object(answer.value),
            Err(error) => error.entry(),
        };
        let results: Vec<Value> = self.results.into_iter().map(entry).collect();
        json!({ "id": id, "model": model, "results": results, "time": self.time })
    }
}

/// A number in as few digits as name it.
pub(crate) fn number(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

/// Checks the length of a list and of its texts.
///
/// # Errors
/// If it has more than `most` texts, or one of more than `most_characters`.
pub(crate) fn check_texts(
    field: &str,
    texts: &[String],
    most: usize,
    most_characters: usize,
) -> Result<(), ApiError> {
    if texts.len() > most {
        return Err(ApiError::value(field, &format!("at most {most} texts"), texts.len()));
    }
    for (index, text) in texts.iter().enumerate() {
        check_text(&format!("{field}[{index}]"), text, most_characters)?;
    }
    Ok(())
}

/// Checks the length of a text.
///
/// # Errors
/// If it has more than `most` characters.
pub(crate) fn check_text(field: &str, text: &str, most: usize) -> Result<(), ApiError> {
    let found = text.chars().count();
    if found > most {
        return Err(ApiError::value(field, &format!("at most {most} characters"), found));
    }
    Ok(())
}

/// Checks a number.
///
/// # Errors
/// If it is out of the range.
pub(crate) fn check_number(
    field: &str,
    number: Option<usize>,
    least: usize,
    most: usize,
) -> Result<(), ApiError> {
    match number.filter(|number| !(least..=most).contains(number)) {
        Some(found) => Err(ApiError::value(field, &format!("{least} to {most}"), found)),
        None => Ok(()),
    }
}
