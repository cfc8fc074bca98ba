//! Captures and digests of one tap, one after the other, as one stream of batches.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use arrow_schema::ArrowError;

use super::digest::{Digest, Next};
use super::filter::Filter;
use super::frames::{Carried, Pause};
use super::part::{Batch, Work};
use super::parts::{Help, lock};
use super::scan::{Scan, ScanOptions};
use crate::capture::{Error, Options, Origin, Reader, Source};

/// Parts of a digest that are read before their turn.
const AHEAD: usize = 2;

/// Captures and [digests](super::digest) of one tap, read one after the other. What comes out is what a scan over the captures
/// would give, those included that the digests were made of.
#[derive(Debug)]
pub struct Chain {
    waiting: VecDeque<Waiting>,
    current: Option<Current>,
    options: Options,
    scan: ScanOptions,
    work: Arc<Work>,
    pause: Option<Pause>,
    carried: Carried,
    origin: Arc<Mutex<Origin>>,
    helper: Helper,
}

/// Who can work on batches of a chain while waiting for something else.
#[derive(Debug, Clone, Default)]
pub(crate) struct Helper(Arc<Mutex<Option<Arc<dyn Help>>>>);

impl Helper {
    /// Does some of the work, if there is any that does not take long; false if not.
    pub fn help(&self) -> bool {
        let current = lock(&self.0).clone();
        current.is_some_and(|current| current.help())
    }

    fn set(&self, current: Option<Arc<dyn Help>>) {
        *lock(&self.0) = current;
    }
}

#[derive(Debug)]
enum Waiting {
    Captures(Vec<Source>),
    Digest(Source),
}

#[derive(Debug)]
enum Current {
    Captures(Box<Scan>),
    Digest(Reading),
}

/// A digest, and what its frames and taps are called in this chain.
#[derive(Debug)]
struct Reading {
    name: String,
    parts: Parts,
    /// What is added to its numbers of frames.
    frame_offset: u64,
    /// The name of its tap, and what to call it.
    rename: Option<(String, String)>,
}

#[derive(Debug)]
enum Parts {
    Here(Box<Digest>),
    /// From a thread that reads ahead.
    Ahead(Receiver<Result<Next, Error>>),
}

impl Chain {
    /// Opens the first of the sources, and makes sure that the others exist. `carried` is what frames before these tell of them. Digests
    /// have all rows, so what filter and limit `scan` has does not count.
    pub fn open(
        sources: Vec<Source>,
        options: Options,
        scan: ScanOptions,
        pause: Option<Pause>,
        carried: Carried,
    ) -> Result<Self, Error> {
        sources.iter().try_for_each(Source::check)?;
        let mut waiting = VecDeque::new();
        for source in sources {
            if Digest::is_one(&source)? {
                waiting.push_back(Waiting::Digest(source));
            } else if let Some(Waiting::Captures(captures)) = waiting.back_mut() {
                captures.push(source);
            } else {
                waiting.push_back(Waiting::Captures(vec![source]));
            }
        }
        let scan = ScanOptions { filter: Filter::default(), limit: None, ..scan };
        let work = Arc::new(Work::of(scan.clone()));
        let (origin, helper) = (Arc::default(), Helper::default());
        let mut chain = Self { waiting, current: None, options, scan, work, pause, carried, origin, helper };
        chain.begin()?;
        Ok(chain)
    }

    /// Where the frames came from, of all that was read to its end.
    pub fn origin(&self) -> Origin {
        lock(&self.origin).clone()
    }

    /// The same, for one who holds no chain.
    pub fn shared_origin(&self) -> Arc<Mutex<Origin>> {
        Arc::clone(&self.origin)
    }

    /// Who can work on its batches while waiting for something else.
    pub(crate) fn helper(&self) -> Helper {
        self.helper.clone()
    }

    /// What the frames tell of later ones, at the end.
    pub fn carried(&mut self) -> Carried {
        std::mem::take(&mut self.carried)
    }

    /// Opens what comes next; false if nothing does.
    fn begin(&mut self) -> Result<bool, Error> {
        let Some(next) = self.waiting.pop_front() else { return Ok(false) };
        let first_frame = lock(&self.origin).next_frame().unwrap_or(self.options.first_frame);
        self.current = Some(match next {
            Waiting::Captures(sources) => {
                let options = Options { first_frame, ..self.options.clone() };
                let scan = Scan::new(Reader::open(sources, options)?, self.scan.clone());
                let scan = scan.with_carried(std::mem::take(&mut self.carried));
                self.helper.set(scan.helper());
                Current::Captures(Box::new(match self.pause {
                    Some(pause) => scan.with_pause(pause),
                    None => scan,
                }))
            }
            Waiting::Digest(source) => {
                let digest = Digest::open(&source)?;
                let tap = &digest.head().tap;
                let rename =
                    self.options.tap.clone().filter(|name| name != tap).map(|name| (tap.clone(), name));
                let parts = if self.scan.threads > 1 {
                    ahead(digest, &self.work)
                } else {
                    Parts::Here(digest.into())
                };
                let (name, frame_offset) = (source.name(), first_frame.saturating_sub(1));
                Current::Digest(Reading { name, parts, frame_offset, rename })
            }
        });
        Ok(true)
    }

    fn next_batch(&mut self) -> Result<Option<Batch>, ArrowError> {
        let external = |error| ArrowError::ExternalError(Box::new(error));
        loop {
            match &mut self.current {
                None => {
                    if !self.begin().map_err(external)? {
                        return Ok(None);
                    }
                }
                Some(Current::Captures(scan)) => {
                    if let Some(batch) = scan.next_with_messages()? {
                        return Ok(Some(batch));
                    }
                    self.carried = scan.carried();
                    let origin = scan.reader().origin();
                    self.end(origin);
                }
                Some(Current::Digest(reading)) => match reading.next(&self.work) {
                    Ok(Next::Part(mut part)) => {
                        part.renumber(reading.frame_offset)?;
                        part.rename_taps(|tap| reading.rename(tap));
                        return part.settle(&mut self.carried, &self.work).map(Some);
                    }
                    Ok(Next::End(mut origin)) => {
                        for interface in &mut origin.interfaces {
                            reading.rename(&mut interface.tap);
                        }
                        for file in &mut origin.files {
                            file.first_frame = file.first_frame.saturating_add(reading.frame_offset);
                        }
                        self.end(origin);
                    }
                    Err(error) => {
                        self.current = None;
                        return Err(external(error));
                    }
                },
            }
        }
    }

    fn end(&mut self, origin: Origin) {
        self.current = None;
        self.helper.set(None);
        lock(&self.origin).extend(origin);
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.helper.set(None);
    }
}

impl Iterator for Chain {
    type Item = Result<Batch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

impl Reading {
    fn next(&mut self, work: &Work) -> Result<Next, Error> {
        match &mut self.parts {
            Parts::Here(digest) => digest.next(work),
            Parts::Ahead(parts) => parts.recv().unwrap_or_else(|_| {
                let problem = "was not read to its end".to_owned();
                Err(Error::Digest { name: self.name.clone(), problem })
            }),
        }
    }

    fn rename(&self, tap: &mut String) {
        if let Some((from, to)) = &self.rename
            && let Some(interface) = tap.strip_prefix(from.as_str())
        {
            *tap = format!("{to}{interface}");
        }
    }
}

/// Reads a digest on a thread of its own.
fn ahead(mut digest: Digest, work: &Arc<Work>) -> Parts {
    let (sender, parts) = sync_channel(AHEAD);
    let work = Arc::clone(work);
    thread::spawn(move || {
        loop {
            let next = digest.next(&work);
            let is_last = !matches!(next, Ok(Next::Part(_)));
            if sender.send(next).is_err() || is_last {
                return;
            }
        }
    });
    Parts::Ahead(parts)
}
