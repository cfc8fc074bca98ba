//! The parts of a table, made by several threads and handed out in the order of the capture.
//!
//! Whoever makes a part takes its frames from the reader, alone with it for as long as that walks from record to record, and
//! then dissects them beside the others. So records are found by the one walk that is sure of them, and never guessed.
//!
//! Whoever has made the part whose turn it is finishes it, and those behind it that were early. Who waits for parts makes some
//! meanwhile. So no core waits for another while there are frames.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use arrow_schema::ArrowError;

use super::frames::Pause;
use super::part::{Part, Work};
use crate::capture::{Block, Error, Interface, Reader};

/// Parts that may be under way beyond one for each thread: as many as there are threads, and no more than this.
const AHEAD: usize = 2;

/// How often a wait for what another thread makes is interrupted to ask whether to go on.
pub(crate) const PATIENCE: Duration = Duration::from_millis(50);

/// Bytes of a capture that a part is made of, for each frame that it may have: of large frames there are fewer in it, as what is read
/// stays in memory until they are dissected, and messages have copies of them.
const BYTES_A_FRAME: usize = 1_536;

/// The bounds of that.
const MIN_BYTES: usize = 6 << 20;
const MAX_BYTES: usize = 32 << 20;

/// What becomes of parts, one after the other in the order of the capture.
pub(super) trait Finish: fmt::Debug + Send + 'static {
    /// What a part becomes.
    type Made: fmt::Debug + Send;

    fn finish(&mut self, part: Part, work: &Work) -> Result<Self::Made, ArrowError>;
}

/// Parts as they are.
#[derive(Debug)]
pub(super) struct Unfinished;

impl Finish for Unfinished {
    type Made = Part;

    fn finish(&mut self, part: Part, _: &Work) -> Result<Part, ArrowError> {
        Ok(part)
    }
}

/// The parts of a capture.
#[derive(Debug)]
pub(super) struct Parts<F: Finish> {
    shared: Arc<Shared<F>>,
    /// Threads that are to be started with the first part.
    workers: usize,
    /// Whether the one that asks for parts makes some.
    helps: bool,
    is_live: bool,
    pause: Pausing,
}

/// What is called now and then.
#[derive(Debug)]
pub(crate) struct Pausing {
    pause: Option<Pause>,
    last: Instant,
}

impl Pausing {
    pub fn new(pause: Option<Pause>) -> Self {
        Self { pause, last: Instant::now() }
    }

    /// Calls it, if it was not called for long.
    pub fn go_on(&mut self) -> Result<(), ArrowError> {
        if let Some(pause) = self.pause
            && self.last.elapsed() >= PATIENCE
        {
            self.last = Instant::now();
            pause()?;
        }
        Ok(())
    }
}

/// Who can be asked to work while waiting for something else.
pub(crate) trait Help: fmt::Debug + Send + Sync {
    /// Makes a part, if more of them are wanted; false if not.
    fn help(&self) -> bool;
}

#[derive(Debug)]
struct Shared<F: Finish> {
    input: Mutex<Input>,
    work: Work,
    finish: Mutex<F>,
    line: Mutex<Line<F::Made>>,
    /// Something was finished.
    finished: Condvar,
    /// There is room for another part.
    vacated: Condvar,
}

/// What a thread made of its frames: none at the end of the capture.
type Made<T> = Result<Option<T>, ArrowError>;

/// Parts in the order of the capture.
#[derive(Debug)]
struct Line<T> {
    /// Made before their turn, by number.
    early: HashMap<u64, Made<Part>>,
    /// The number of the part whose turn it is.
    next: u64,
    /// Whether a thread finishes parts at the moment.
    is_finishing: bool,
    finished: VecDeque<Made<T>>,
    /// How many more parts may be under way.
    room: usize,
    /// Whether no more parts are to be begun: the capture has ended, or nobody wants them.
    is_closed: bool,
    /// Whether a thread ended before its time.
    has_failed: bool,
}

impl<F: Finish> Parts<F> {
    /// All that `reader` has, made by so many threads, the one that asks included.
    pub fn new(reader: Reader, work: Work, finish: F, threads: usize) -> Self {
        let threads = threads.max(1);
        let room = threads + threads.min(AHEAD);
        // One that waits for a pipe has no time for what was made meanwhile, so it is not to be the one that asks.
        let is_live = reader.is_live();
        let helps = threads == 1 || !is_live;
        let line = Line {
            early: HashMap::new(),
            next: 0,
            is_finishing: false,
            finished: VecDeque::new(),
            room,
            is_closed: false,
            has_failed: false,
        };
        let shared = Shared {
            input: Mutex::new(Input {
                reader,
                parts: 0,
                room,
                begun: VecDeque::new(),
                rest: None,
                failed: None,
            }),
            work,
            finish: Mutex::new(finish),
            line: Mutex::new(line),
            finished: Condvar::new(),
            vacated: Condvar::new(),
        };
        let workers = if helps { threads - 1 } else { threads };
        Self { shared: Arc::new(shared), workers, helps, is_live, pause: Pausing::new(None) }
    }

    /// Has `pause` called now and then, by the one that asks; its error ends the reading.
    pub fn set_pause(&mut self, pause: Pause) {
        self.pause = Pausing::new(Some(pause));
    }

    /// The next part, finished; none at the end of the capture.
    pub fn next(&mut self) -> Made<F::Made> {
        for _ in 0..std::mem::take(&mut self.workers) {
            let shared = Arc::clone(&self.shared);
            // Not waited for at the end: one that waits for a pipe would never come.
            thread::spawn(move || shared.run());
        }
        // Who waits for a pipe itself, waits there.
        let waiting = self.pause.pause.filter(|_| self.is_live);
        loop {
            self.pause.go_on()?;
            if let Some(finished) = self.shared.take()? {
                return finished;
            }
            if !(self.helps && self.shared.help_with(waiting)) {
                self.shared.wait();
            }
        }
    }

    /// Begins no more parts. Not to be asked for any after that.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Who can make parts while waiting for something else; none if that might take long.
    pub fn helper(&self) -> Option<Arc<dyn Help>> {
        (!self.is_live).then(|| Arc::clone(&self.shared) as Arc<dyn Help>)
    }

    /// What finishes parts. Waits while parts are finished.
    pub fn finisher(&self) -> impl DerefMut<Target = F> {
        lock(&self.shared.finish)
    }

    /// The reader. Waits for the thread that reads at the moment.
    pub fn reader(&self) -> impl Deref<Target = Reader> {
        ReaderGuard(lock(&self.shared.input))
    }

    /// The reader, unless a thread reads at the moment.
    pub fn idle_reader(&self) -> Option<impl Deref<Target = Reader>> {
        self.shared.input.try_lock().ok().map(ReaderGuard)
    }
}

impl<F: Finish> Drop for Parts<F> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl<F: Finish> Help for Shared<F> {
    fn help(&self) -> bool {
        self.help_with(None)
    }
}

impl<F: Finish> Shared<F> {
    /// What a thread does.
    fn run(&self) {
        loop {
            // Before the input, which nobody is to hold who waits.
            let line = lock(&self.line);
            let waited = self.vacated.wait_while(line, |line| line.room == 0 && !line.is_closed);
            let mut line = waited.unwrap_or_else(PoisonError::into_inner);
            if line.is_closed {
                return;
            }
            line.room -= 1;
            drop(line);
            self.make(None);
        }
    }

    /// Makes a part unless none is wanted.
    fn help_with(&self, pause: Option<Pause>) -> bool {
        let mut line = lock(&self.line);
        if line.room == 0 || line.is_closed {
            return false;
        }
        line.room -= 1;
        drop(line);
        self.make(pause);
        true
    }

    /// Makes a part, for which there is room.
    fn make(&self, pause: Option<Pause>) {
        let whole = Whole(self);
        let taken = lock(&self.input).take(&self.work, pause);
        let (number, part) = match taken {
            Ok(Taken { number, blocks, interfaces, is_end }) => {
                let mut part = Part::new(&self.work);
                for block in &blocks {
                    part.read(&self.work, block, &interfaces);
                }
                (number, Ok((!is_end).then_some(part)))
            }
            Err((number, error)) => (number, Err(error)),
        };
        self.hand_in(number, part);
        drop(whole);
    }

    /// Finishes the parts whose turn it is, unless another thread does.
    fn hand_in(&self, number: u64, part: Made<Part>) {
        let mut line = lock(&self.line);
        line.is_closed |= matches!(part, Ok(None));
        line.early.insert(number, part);
        if std::mem::replace(&mut line.is_finishing, true) {
            return;
        }
        loop {
            let turn = line.next;
            let Some(part) = line.early.remove(&turn) else { break };
            drop(line);
            let finished = part
                .and_then(|part| part.map(|part| lock(&self.finish).finish(part, &self.work)).transpose());
            line = lock(&self.line);
            line.next += 1;
            line.finished.push_back(finished);
            self.finished.notify_one();
        }
        line.is_finishing = false;
        if line.is_closed {
            drop(line);
            self.vacated.notify_all();
        }
    }

    /// What was finished first of what is there. The end stays.
    fn take(&self) -> Result<Option<Made<F::Made>>, ArrowError> {
        let mut line = lock(&self.line);
        match line.finished.front() {
            Some(Ok(None)) => Ok(Some(Ok(None))),
            Some(_) => {
                line.room += 1;
                self.vacated.notify_one();
                Ok(line.finished.pop_front())
            }
            None if line.has_failed => {
                let problem = "a thread that reads packets ended before its time";
                Err(ArrowError::ComputeError(problem.to_owned()))
            }
            None => Ok(None),
        }
    }

    /// Waits until something was finished, but not for long.
    fn wait(&self) {
        let line = lock(&self.line);
        let nothing = |line: &mut Line<F::Made>| line.finished.is_empty() && !line.has_failed;
        drop(self.finished.wait_timeout_while(line, PATIENCE, nothing));
    }

    fn close(&self) {
        lock(&self.line).is_closed = true;
        self.vacated.notify_all();
    }
}

/// Tells those that wait if a thread ends while it makes a part.
struct Whole<'a, F: Finish>(&'a Shared<F>);

impl<F: Finish> Drop for Whole<'_, F> {
    fn drop(&mut self) {
        if thread::panicking() {
            lock(&self.0.line).has_failed = true;
            self.0.finished.notify_all();
        }
    }
}

/// Frames of one part, taken from the reader.
struct Taken {
    number: u64,
    blocks: Vec<Block>,
    interfaces: Vec<Arc<Interface>>,
    /// Whether there are none because the capture has ended.
    is_end: bool,
}

/// Where frames come from, one stretch after the other.
#[derive(Debug)]
struct Input {
    reader: Reader,
    /// How many parts were begun.
    parts: u64,
    /// How many may be under way, and where the last so many began, by what the reader had walked over.
    room: usize,
    begun: VecDeque<u64>,
    /// Frames that found no room in the last part.
    rest: Option<Block>,
    /// What ended a source: it is told when the frames before it were handed out.
    failed: Option<Error>,
}

impl Input {
    /// The frames of the next part. Numbers are given out with the input at hand, so that they are in the order of the frames.
    fn take(&mut self, work: &Work, pause: Option<Pause>) -> Result<Taken, (u64, ArrowError)> {
        let number = self.parts;
        self.parts += 1;
        let mut blocks = Vec::new();
        self.keep();
        let bytes = (work.batch_size * BYTES_A_FRAME).clamp(MIN_BYTES, MAX_BYTES);
        let mut quota = Quota { frames: work.batch_size, bytes };
        let mut is_end = false;
        while quota.frames > 0 && quota.bytes > 0 {
            let block = self.next_block(&mut quota, blocks.is_empty()).map_err(|error| (number, error))?;
            let Some(block) = block else {
                is_end = blocks.is_empty();
                break;
            };
            // One without a frame, as blocks of other kinds leave it, would only keep room.
            if !block.is_empty() {
                blocks.push(block);
            } else if let Some(pause) = pause {
                pause().map_err(|error| (number, error))?;
            }
        }
        Ok(Taken { number, blocks, interfaces: self.reader.interfaces().to_vec(), is_end })
    }

    /// Has the reader keep what parts under way are made of: those before them are done with.
    fn keep(&mut self) {
        let rest = self.rest.as_ref().map_or(0, Block::size);
        self.begun.push_back(self.reader.walked().saturating_sub(rest as u64));
        if self.begun.len() > self.room {
            self.begun.pop_front();
        }
        if let Some(&oldest) = self.begun.front() {
            self.reader.keep_from(oldest);
        }
    }

    /// Frames that follow, as many as the quota has room for; none at the end of the capture, and where a source ended with an
    /// error. That is the answer itself if it `may_fail`, else the one next time.
    fn next_block(&mut self, quota: &mut Quota, may_fail: bool) -> Result<Option<Block>, ArrowError> {
        if self.failed.is_none() {
            let before = self.reader.walked();
            let block = match self.rest.take() {
                Some(rest) => Ok(Some(rest)),
                None => self.reader.next_block_of(quota.frames),
            };
            let walked = (self.reader.walked() - before) as usize;
            match block {
                Ok(mut block) => {
                    if let Some(block) = &mut block {
                        self.rest = block.split(quota.frames, quota.bytes);
                        quota.frames = quota.frames.saturating_sub(block.len());
                        quota.bytes = quota.bytes.saturating_sub(block.size().max(walked));
                    }
                    return Ok(block);
                }
                Err(error) => self.failed = Some(error),
            }
        }
        match self.failed.take_if(|_| may_fail) {
            Some(error) => Err(ArrowError::ExternalError(Box::new(error))),
            None => Ok(None),
        }
    }
}

/// What a part still has room for.
struct Quota {
    frames: usize,
    bytes: usize,
}

/// What a mutex holds, whoever failed with it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The reader, while no thread reads.
struct ReaderGuard<'a>(MutexGuard<'a, Input>);

impl Deref for ReaderGuard<'_> {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.0.reader
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::capture::{Options, Source};
    use crate::packets::ScanOptions;
    use crate::traffic::{Mix, capture};

    const FRAMES: usize = 5000;

    fn at_hand() -> Source {
        Source::Memory { name: "memory".to_owned(), bytes: Arc::new(capture(Mix::Imix, FRAMES, 1)) }
    }

    fn live() -> Source {
        let reader = Box::new(Cursor::new(capture(Mix::Imix, FRAMES, 1)));
        Source::Stream { name: "pipe".to_owned(), reader }
    }

    fn parts<F: Finish>(source: Source, finish: F, threads: usize) -> Parts<F> {
        let reader = Reader::open(vec![source], Options::default()).unwrap();
        let work = Work::of(ScanOptions { batch_size: 64, ..ScanOptions::default() });
        Parts::new(reader, work, finish, threads)
    }

    /// Frames of each part and when the first of them was captured.
    fn all(mut parts: Parts<Unfinished>) -> Vec<(usize, Option<i64>)> {
        let mut all = Vec::new();
        while let Some(part) = parts.next().unwrap() {
            all.push((part.frames(), part.first_ts()));
        }
        assert!(parts.next().unwrap().is_none(), "the end stays");
        all
    }

    #[test]
    fn parts_come_in_order_whoever_makes_them() {
        let expected = all(parts(at_hand(), Unfinished, 1));
        assert_eq!(expected.iter().map(|(frames, _)| frames).sum::<usize>(), FRAMES);
        assert!(expected.is_sorted_by_key(|(_, ts)| *ts));
        for threads in 1..5 {
            assert_eq!(all(parts(live(), Unfinished, threads)), expected);
            let parts = parts(at_hand(), Unfinished, threads);
            let helper = parts.helper().unwrap();
            thread::scope(|scope| {
                // Helps for as long as there is something to do, and now and then while there is none.
                let helping = scope.spawn(|| {
                    let mut made = 0;
                    while Arc::strong_count(&helper) > 1 {
                        made += usize::from(helper.help());
                        thread::yield_now();
                    }
                    made
                });
                assert_eq!(all(parts), expected);
                assert!(helping.join().unwrap() <= expected.len() + threads);
            });
            assert!(!helper.help(), "nobody wants more");
        }
    }

    #[test]
    fn who_reads_a_pipe_is_not_to_be_helped() {
        assert!(parts(live(), Unfinished, 1).helper().is_none());
        assert!(parts(at_hand(), Unfinished, 1).helper().is_some());
    }

    #[test]
    fn no_more_is_made_than_there_is_room_for() {
        let parts = parts(at_hand(), Unfinished, 2);
        let helper = parts.helper().unwrap();
        let made = std::iter::repeat_with(|| helper.help()).take_while(|made| *made).count();
        assert_eq!(made, 4);
        parts.close();
        assert!(!helper.help());
    }

    #[derive(Debug)]
    struct Panicking;

    impl Finish for Panicking {
        type Made = Part;

        fn finish(&mut self, _: Part, _: &Work) -> Result<Part, ArrowError> {
            panic!("as a defect would")
        }
    }

    #[test]
    fn a_thread_that_fails_is_an_error() {
        let mut parts = parts(live(), Panicking, 2);
        for _ in 0..2 {
            let error = parts.next().unwrap_err().to_string();
            assert!(error.contains("ended before its time"), "{error}");
        }
    }
}
