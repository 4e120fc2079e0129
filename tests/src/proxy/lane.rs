//! One direction of one connection.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use nova_agent_core::wire::{Decoder, Message, SOCKET_REPLY_MAX};
use rustix::net::RecvFlags;

use super::{Fault, Sender, Shared};

/// How many bytes are read at once.
const READ_SIZE: usize = 8192;

/// What an agent may leave in its socket: more than the least that a kernel lets it have.
const HELD_BACK_MAX: usize = 64 * 1024;

/// After a byte that goes alone. Without it, the other side would find many of them at once.
const PAUSE: Duration = Duration::from_micros(20);

/// Between two looks at bytes that stay where they are: they are always there to be read.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// Carries messages until either end closes, or a fault ends the connection.
pub(super) fn carry(sender: Sender, from: &UnixStream, to: &UnixStream, shared: &Shared) {
    let mut lane = Lane {
        sender,
        from,
        to,
        shared,
        decoder: Decoder::new(SOCKET_REPLY_MAX),
        held_back: 0,
    };
    // Whatever ended it, it is over for both ends.
    let _ = lane.run();
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

struct Lane<'a> {
    sender: Sender,
    from: &'a UnixStream,
    to: &'a UnixStream,
    shared: &'a Shared,
    decoder: Decoder,
    /// So many bytes were carried, but are still in the socket that they came from.
    held_back: usize,
}

impl Lane<'_> {
    fn run(&mut self) -> io::Result<()> {
        loop {
            self.shared.pass();
            let bytes = self.read()?;
            let mut rest = bytes.as_slice();
            let mut messages = Vec::new();
            while let Some(message) = self.decoder.decode(&mut rest).map_err(io::Error::other)? {
                messages.push(message);
            }
            // All of them have arrived before the other side can answer the first.
            let fates = self.shared.arrived(self.sender, &messages);
            for (message, fate) in messages.iter().zip(fates) {
                self.deliver(message, fate)?;
            }
        }
    }

    /// More bytes.
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut from = self.from;
        if self.sender == Sender::Agent {
            while self.shared.lock().holds_back {
                let mut buffer = vec![0; HELD_BACK_MAX];
                let (_, len) = rustix::net::recv(from, buffer.as_mut_slice(), RecvFlags::PEEK)?;
                if len == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                if len > self.held_back {
                    buffer.truncate(len);
                    let seen = std::mem::replace(&mut self.held_back, len);
                    return Ok(buffer.split_off(seen));
                }
                thread::sleep(LOOK_INTERVAL);
            }
            let mut carried = vec![0; std::mem::take(&mut self.held_back)];
            from.read_exact(&mut carried)?;
        }
        let mut buffer = vec![0; READ_SIZE];
        match from.read(&mut buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            len => {
                buffer.truncate(len);
                Ok(buffer)
            }
        }
    }

    fn deliver(&self, message: &Message, fate: Option<Fault>) -> io::Result<()> {
        let bytes = message
            .encode_within(SOCKET_REPLY_MAX)
            .map_err(io::Error::other)?;
        let (first, second) = bytes.split_at(if fate.is_some() { bytes.len() / 2 } else { 0 });
        self.write(first)?;
        match fate {
            Some(Fault::Cut) => return Err(io::ErrorKind::ConnectionAborted.into()),
            Some(Fault::Pause(duration)) => {
                self.shared.begin_stall();
                thread::sleep(duration);
                self.shared.end_stall();
            }
            Some(Fault::Stall) => self.shared.begin_stall(),
            None => {}
        }
        self.write(second)
    }

    /// A whole message is one write, as a device wants it.
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut to = self.to;
        if !self.shared.pass() {
            return to.write_all(bytes);
        }
        for byte in bytes {
            to.write_all(&[*byte])?;
            thread::sleep(PAUSE);
            self.shared.pass();
        }
        Ok(())
    }
}
