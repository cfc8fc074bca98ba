//! A tap as a check reads it: its batches, in order, and what is said and sent on it, which is taken note of on the way.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arrow_schema::ArrowError;

use crate::packets::{Batch, Chain, Pause};
use crate::voice::{Heard, Tables};

/// How often a wait for the next batch is interrupted to ask whether to go on.
const PATIENCE: Duration = Duration::from_millis(50);

/// Batches that are read before they are asked for.
const AHEAD: usize = 2;

/// A tap, read by whoever asks for its batches, or by a thread of its own. The batches are the same.
#[derive(Debug)]
pub struct Tap {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Here(Box<Listener>),
    Beside { batches: Receiver<Result<Batch, ArrowError>>, thread: Thread, pause: Option<Pause> },
}

/// What is left when a tap was read to its end: the chain, and what was heard.
type Read = (Chain, Tables);

#[derive(Debug)]
enum Thread {
    Runs(JoinHandle<Result<Read, ArrowError>>),
    Ended(Box<Read>),
    /// It did not come to the end of the tap.
    Failed,
}

/// Reads a tap and listens.
#[derive(Debug)]
struct Listener {
    chain: Chain,
    heard: Heard,
}

impl Listener {
    fn new(chain: Chain) -> Self {
        Self { chain, heard: Heard::default() }
    }

    fn finish(self) -> Result<Read, ArrowError> {
        Ok((self.chain, self.heard.finish()?))
    }
}

impl Iterator for Listener {
    type Item = Result<Batch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.chain.next()?;
        Some(batch.and_then(|batch| self.heard.read(&batch).map(|()| batch)))
    }
}

impl Tap {
    /// Read by whoever asks.
    pub fn here(chain: Chain) -> Self {
        Self { source: Source::Here(Box::new(Listener::new(chain))) }
    }

    /// Read by a thread, which begins at once. Whoever waits for it calls `pause` now and then.
    pub fn beside(chain: Chain, pause: Option<Pause>) -> Self {
        let (sender, batches) = sync_channel(AHEAD);
        let mut listener = Listener::new(chain);
        let run = move || {
            for batch in listener.by_ref() {
                let is_last = batch.is_err();
                if sender.send(batch).is_err() || is_last {
                    // Nobody asks any more.
                    return Err(failed());
                }
            }
            listener.finish()
        };
        // Not waited for if the check ends early: one that waits for a pipe would never come.
        let thread = Thread::Runs(thread::spawn(run));
        Self { source: Source::Beside { batches, thread, pause } }
    }

    /// The chain, and what was heard, once all batches were read.
    pub fn finish(self) -> Result<(Chain, Tables), ArrowError> {
        match self.source {
            Source::Here(listener) => listener.finish(),
            Source::Beside { thread: Thread::Ended(read), .. } => Ok(*read),
            Source::Beside { .. } => Err(failed()),
        }
    }
}

impl Thread {
    /// Waits until it has come to its end.
    fn end(&mut self) -> Result<(), ArrowError> {
        *self = match std::mem::replace(self, Self::Failed) {
            Self::Runs(thread) => Self::Ended(Box::new(thread.join().map_err(|_| failed())??)),
            Self::Ended(read) => Self::Ended(read),
            Self::Failed => return Err(failed()),
        };
        Ok(())
    }
}

fn failed() -> ArrowError {
    ArrowError::ComputeError("the thread that reads a tap ended before its time".to_owned())
}

impl Iterator for Tap {
    type Item = Result<Batch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (batches, thread, pause) = match &mut self.source {
            Source::Here(listener) => return listener.next(),
            Source::Beside { batches, thread, pause } => (batches, thread, pause),
        };
        loop {
            match batches.recv_timeout(PATIENCE) {
                Ok(batch) => return Some(batch),
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(Err(error)) = pause.map(|pause| pause()) {
                        return Some(Err(error));
                    }
                }
                // The end of the tap, or of the thread only.
                Err(RecvTimeoutError::Disconnected) => return thread.end().err().map(Err),
            }
        }
    }
}
