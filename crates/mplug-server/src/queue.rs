//! How much work is accepted, and how long the next piece would wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{ApiError, Code};

/// Longest wait that is named to a client: OpenAI's clients heed no longer one.
const LONGEST_WAIT: Duration = Duration::from_mins(2);
/// What a picture is thought to take before one was measured, in microseconds.
const FIRST_GUESS_US: u64 = 1_000_000;
/// The share of a new measurement in the mean is one part in this many.
const MEMORY: u64 = 8;

/// The places of accepted pictures.
pub(crate) struct Queue {
    places: Arc<Semaphore>,
    size: usize,
    /// Mean time of the models for a picture, in microseconds.
    mean_us: AtomicU64,
}

/// The places of a request's pictures, which it holds until each is answered or given up.
pub(crate) type Place = OwnedSemaphorePermit;

impl Queue {
    pub(crate) fn new(size: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(size)), size, mean_us: AtomicU64::new(FIRST_GUESS_US) }
    }

    /// Accepted pictures.
    pub(crate) fn len(&self) -> usize {
        self.size - self.places.available_permits()
    }

    /// Takes a place for each of `count` pictures.
    ///
    /// # Errors
    /// If there are not enough, with the time after which there may be; or never will be.
    pub(crate) fn take(&self, count: usize) -> Result<Vec<Place>, ApiError> {
        if count > self.size {
            let message = format!(
                "images: expected no more than the queue's {} places, found pictures that take {count}: one for each model that looks",
                self.size
            );
            return Err(ApiError::new(Code::TooManyImages, message).of("images"));
        }
        let take = || Arc::clone(&self.places).try_acquire_owned().ok();
        let places: Option<Vec<Place>> = (0..count).map(|_| take()).collect();
        places.ok_or_else(|| self.full(count))
    }

    /// Refuses a request that has not been read yet where no place is free.
    ///
    /// # Errors
    /// If there is none, with the time after which there may be.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        if self.places.available_permits() == 0 { Err(self.full(1)) } else { Ok(()) }
    }

    fn full(&self, count: usize) -> ApiError {
        let message = format!(
            "the queue is full: {} of {} pictures are waiting, {count} more came",
            self.len(),
            self.size
        );
        ApiError::new(Code::Overloaded, message).after(self.wait(count))
    }

    /// How long until `count` places are free, as fast as pictures are answered now.
    fn wait(&self, count: usize) -> Duration {
        let missing = count.saturating_sub(self.places.available_permits()) as u64;
        let mean_us = self.mean_us.load(Ordering::Relaxed);
        Duration::from_micros(mean_us.saturating_mul(missing)).clamp(Duration::from_secs(1), LONGEST_WAIT)
    }

    /// Takes note of the models' time for a picture.
    pub(crate) fn measured(&self, time: Duration) {
        let time = time.as_micros() as u64;
        let mean = self.mean_us.load(Ordering::Relaxed);
        // The model thread alone writes it.
        self.mean_us.store(mean - mean / MEMORY + time / MEMORY, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_names_an_honest_wait() {
        let queue = Queue::new(3);
        for _ in 0..100 {
            queue.measured(Duration::from_secs(2));
        }
        let held = queue.take(2).unwrap();
        assert_eq!(queue.len(), 2);
        assert!(queue.check().is_ok());
        let error = queue.take(3).unwrap_err();
        assert_eq!(queue.len(), 2, "a request takes all of its places or none");
        let wait = error.retry_after.unwrap().as_secs_f64();
        assert!((3.9..4.1).contains(&wait), "two are missing, at 2 s each: {wait}");
        assert_eq!(queue.take(4).unwrap_err().code, Code::TooManyImages, "waiting would not help");
        drop(held);
        let held = queue.take(3).unwrap();
        assert_eq!(queue.check().unwrap_err().code, Code::Overloaded);
        drop(held);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn no_wait_is_longer_than_clients_heed() {
        let queue = Queue::new(1);
        for _ in 0..100 {
            queue.measured(Duration::from_secs(1000));
        }
        let _held = queue.take(1).unwrap();
        assert_eq!(queue.check().unwrap_err().retry_after, Some(LONGEST_WAIT));
    }
}
