//! Threads that turn frames into parts of the table, which come out in the order of the capture.
//!
//! A thread takes the frames of the next part from the reader, alone with it for as long as that walks from record to record, and
//! then dissects them beside the others. So records are found by the one walk that is sure of them, and never guessed.

use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use arrow_schema::ArrowError;

use super::frames::{Pause, wait};
use super::part::{Part, Work};
use super::scan::{Input, Quota, lock};
use crate::capture::{Block, Interface};

/// Parts beyond one a thread that may be under way.
const AHEAD: usize = 2;

/// What a thread made of its frames: none at the end of the capture.
type Made = Result<Option<Part>, ArrowError>;

/// The threads, and what they have made.
#[derive(Debug)]
pub(super) struct Workers {
    made: Receiver<(u64, Made)>,
    /// Parts that came before their turn, by number.
    early: HashMap<u64, Made>,
    next: u64,
    room: Arc<Room>,
}

/// Frames of one part, taken from the reader.
struct Taken {
    number: u64,
    blocks: Vec<Block>,
    interfaces: Vec<Arc<Interface>>,
}

impl Workers {
    pub fn start(threads: usize, input: &Arc<Mutex<Input>>, work: &Arc<Work>) -> Self {
        let (sender, made) = mpsc::channel();
        let room = Arc::new(Room::new(threads + AHEAD));
        for _ in 0..threads {
            let (sender, room) = (sender.clone(), Arc::clone(&room));
            let (input, work) = (Arc::clone(input), Arc::clone(work));
            // Not waited for at the end: one that waits for a pipe would never come.
            thread::spawn(move || run(&input, &work, &room, &sender));
        }
        Self { made, early: HashMap::new(), next: 0, room }
    }

    /// The part whose turn it is; none at the end of the capture.
    pub fn next_part(&mut self, pause: Option<Pause>) -> Made {
        let made = loop {
            if let Some(made) = self.early.remove(&self.next) {
                break made;
            }
            let Some((number, made)) = wait(&self.made, pause)? else {
                // Each says when it is at the end.
                let problem = "a thread that reads packets ended before its time";
                return Err(ArrowError::ComputeError(problem.to_owned()));
            };
            self.early.insert(number, made);
        };
        if matches!(made, Ok(None)) {
            // It stays the answer.
            self.early.insert(self.next, Ok(None));
            self.room.close();
        } else {
            self.next += 1;
            self.room.give();
        }
        made
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.room.close();
    }
}

fn run(input: &Mutex<Input>, work: &Work, room: &Room, made: &Sender<(u64, Made)>) {
    loop {
        // Before the input, which nobody is to hold who waits.
        if !room.take() {
            return;
        }
        let taken = take(&mut lock(input), work);
        let (number, part) = match taken {
            Ok(Taken { number, blocks, interfaces }) => {
                let mut part = Part::new(work);
                for block in &blocks {
                    part.read(work, block, &interfaces);
                }
                (number, Ok((part.frames() > 0).then_some(part)))
            }
            Err((number, error)) => (number, Err(error)),
        };
        let is_end = matches!(part, Ok(None));
        if made.send((number, part)).is_err() || is_end {
            return;
        }
    }
}

/// The frames of the next part. Numbers are given out with the input at hand, so that they are in the order of the frames.
fn take(input: &mut Input, work: &Work) -> Result<Taken, (u64, ArrowError)> {
    let number = input.parts;
    input.parts += 1;
    let mut blocks = Vec::new();
    let mut quota = Quota::of(work);
    while !quota.is_used_up() {
        let block = input.next_block(&mut quota, blocks.is_empty());
        let Some(block) = block.map_err(|error| (number, error))? else { break };
        // One without a frame, as blocks of other kinds leave it, would only keep room.
        if !block.is_empty() {
            blocks.push(block);
        }
    }
    Ok(Taken { number, blocks, interfaces: input.reader.interfaces().to_vec() })
}

/// How many more parts may be under way.
#[derive(Debug)]
struct Room {
    state: Mutex<RoomState>,
    changed: Condvar,
}

#[derive(Debug)]
struct RoomState {
    free: usize,
    closed: bool,
}

impl Room {
    fn new(free: usize) -> Self {
        Self { state: Mutex::new(RoomState { free, closed: false }), changed: Condvar::new() }
    }

    /// Waits until there is room for one more; false if no more are wanted.
    fn take(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.closed {
                return false;
            }
            if state.free > 0 {
                state.free -= 1;
                return true;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).free += 1;
        self.changed.notify_one();
    }

    fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.changed.notify_all();
    }
}
