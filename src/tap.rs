//! A tap as a check reads it: its batches, in order, and what is said and sent on it, which is taken note of on the way.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::thread;

use arrow_schema::ArrowError;

use crate::packets::{Batch, Chain, Helper, PATIENCE, Pause, Pausing};
use crate::voice::{Heard, Tables};

/// Batches that are read before they are asked for.
const AHEAD: usize = 1;

/// A tap, read by whoever asks for its batches, or by a thread of its own. The batches are the same.
#[derive(Debug)]
pub struct Tap {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Here(Box<Listener>),
    Beside(Beside),
}

/// A tap that is read by a thread of its own.
#[derive(Debug)]
struct Beside {
    steps: Receiver<Result<Step, ArrowError>>,
    helper: Helper,
    /// What the last step has brought.
    read: Option<Box<Read>>,
    pause: Pausing,
}

impl Beside {
    /// What the thread brings next; none after the end. Helps it, for as long as there is nothing.
    fn next(&mut self) -> Result<Option<Step>, ArrowError> {
        loop {
            self.pause.go_on()?;
            match self.steps.try_recv() {
                Ok(step) => return step.map(Some),
                Err(TryRecvError::Disconnected) => return Ok(None),
                Err(TryRecvError::Empty) => {}
            }
            if self.helper.help() {
                continue;
            }
            match self.steps.recv_timeout(PATIENCE) {
                Ok(step) => return step.map(Some),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// What is left when a tap was read to its end: the chain, and what was heard.
type Read = (Chain, Tables);

/// What comes from the thread that reads a tap.
#[derive(Debug)]
enum Step {
    Batch(Batch),
    End(Box<Read>),
}

/// Reads a tap and listens.
#[derive(Debug)]
struct Listener {
    chain: Chain,
    heard: Heard,
}

impl Listener {
    fn new(chain: Chain, memory: usize) -> Self {
        Self { chain, heard: Heard::within(memory) }
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
    /// Read by whoever asks. What was said and sent may take about so many bytes of `memory`.
    pub fn here(chain: Chain, memory: usize) -> Self {
        Self { source: Source::Here(Box::new(Listener::new(chain, memory))) }
    }

    /// Read by a thread, which begins at once. Whoever waits for it helps, and calls `pause` now and then.
    pub fn beside(chain: Chain, memory: usize, pause: Option<Pause>) -> Self {
        let (sender, steps) = sync_channel(AHEAD);
        let helper = chain.helper();
        let mut listener = Listener::new(chain, memory);
        // Not waited for if the check ends early: one that waits for a pipe would never come.
        thread::spawn(move || {
            for batch in listener.by_ref() {
                let is_last = batch.is_err();
                if sender.send(batch.map(Step::Batch)).is_err() || is_last {
                    return;
                }
            }
            // Whether anybody still wants it is not for the thread to say.
            let _ = sender.send(listener.finish().map(|read| Step::End(Box::new(read))));
        });
        Self { source: Source::Beside(Beside { steps, helper, read: None, pause: Pausing::new(pause) }) }
    }

    /// The chain, and what was heard, once all batches were read.
    pub fn finish(self) -> Result<(Chain, Tables), ArrowError> {
        match self.source {
            Source::Here(listener) => listener.finish(),
            Source::Beside(beside) => beside.read.map(|read| *read).ok_or_else(failed),
        }
    }
}

fn failed() -> ArrowError {
    ArrowError::ComputeError("the thread that reads a tap ended before its time".to_owned())
}

impl Iterator for Tap {
    type Item = Result<Batch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let beside = match &mut self.source {
            Source::Here(listener) => return listener.next(),
            Source::Beside(beside) => beside,
        };
        match beside.next() {
            Ok(Some(Step::Batch(batch))) => Some(Ok(batch)),
            Ok(Some(Step::End(end))) => {
                beside.read = Some(end);
                None
            }
            // After the end, or instead of it.
            Ok(None) => beside.read.is_none().then(|| Err(failed())),
            Err(error) => Some(Err(error)),
        }
    }
}
