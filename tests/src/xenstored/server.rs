//! The store behind Unix sockets: one thread, any number of clients.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::{fs, thread};

use mio::net::{UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Token, Waker};
use nova_agent_sim::xenstored::{ConnId, Flavour, Peer, Store};

const WAKER: Token = Token(0);

/// How many bytes are read at once.
const READ_SIZE: usize = 8192;

/// How much a client may leave unread in user space before its requests have to wait.
const UNSENT_MAX: usize = 256 * 1024;

/// A running embedded daemon: `socket` for dom0, `guest.N` for every unprivileged domain N, in one directory.
///
/// It stops when dropped.
#[derive(Debug)]
pub struct Server {
    dir: PathBuf,
    commands: Sender<Command>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Server {
    /// Starts a daemon in an existing directory. Its sockets can be connected to once this returns.
    ///
    /// # Errors
    /// [`ServerError`] if a socket cannot be created there: the path of one has at most 107 bytes.
    pub fn start(dir: impl Into<PathBuf>, flavour: Flavour) -> Result<Self, ServerError> {
        let dir = dir.into();
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (commands, receiver) = mpsc::channel();
        let mut worker = Worker {
            poll,
            store: Store::new(flavour),
            listeners: BTreeMap::new(),
            clients: BTreeMap::new(),
            tokens: BTreeMap::new(),
            last_token: WAKER.0,
            commands: receiver,
        };
        worker.listen(&dir.join("socket"), Peer::Dom0)?;
        let thread = thread::Builder::new()
            .name("xenstored".into())
            .spawn(move || worker.run())?;
        Ok(Self {
            dir,
            commands,
            waker,
            thread: Some(thread),
        })
    }

    /// Creates a domain and the socket `guest.N`, whose path is returned.
    ///
    /// # Errors
    /// [`ServerError`] if the socket cannot be created, or the daemon has stopped.
    pub fn add_guest(&self, domid: u32) -> Result<PathBuf, ServerError> {
        let path = self.dir.join(format!("guest.{domid}"));
        let socket = path.clone();
        self.run(move |worker| {
            worker.store.add_domain(domid);
            worker.listen(&socket, Peer::Guest(domid))
        })??;
        Ok(path)
    }

    /// Destroys a domain: its socket and its connections go.
    ///
    /// # Errors
    /// [`ServerError`] if the daemon has stopped.
    pub fn remove_guest(&self, domid: u32) -> Result<(), ServerError> {
        self.run(move |worker| {
            worker.listeners.retain(|_, listener| {
                let keep = listener.peer != Peer::Guest(domid);
                if !keep {
                    let _ = fs::remove_file(&listener.path);
                }
                keep
            });
            worker.store.remove_domain(domid);
        })
    }

    /// Saves a domain and restores it under a new number; see [`Store::restore_domain`]. Its socket keeps its name.
    ///
    /// # Errors
    /// [`ServerError`] if the daemon has stopped.
    pub fn restore_guest(&self, old: u32, new: u32) -> Result<(), ServerError> {
        self.run(move |worker| {
            worker.store.restore_domain(old, new);
            for listener in worker
                .listeners
                .values_mut()
                .filter(|listener| listener.peer == Peer::Guest(old))
            {
                listener.peer = Peer::Guest(new);
            }
        })
    }

    /// Closes every connection, as a daemon does that is started anew; the tree stays.
    ///
    /// # Errors
    /// [`ServerError`] if the daemon has stopped.
    pub fn close_connections(&self) -> Result<(), ServerError> {
        self.run(|worker| {
            for client in worker.clients.values() {
                worker.store.disconnect(client.conn);
            }
        })
    }

    /// Waits until the daemon stops, which it does by itself only if the system fails it.
    ///
    /// # Errors
    /// [`ServerError::Io`] is what failed.
    pub fn wait(mut self) -> Result<(), ServerError> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => Ok(result?),
            Some(Err(_)) | None => Err(ServerError::Stopped),
        }
    }

    /// Has the worker do something, and waits for its result.
    fn run<T: Send + 'static>(
        &self,
        action: impl FnOnce(&mut Worker) -> T + Send + 'static,
    ) -> Result<T, ServerError> {
        let (sender, receiver) = mpsc::channel();
        let action = Box::new(move |worker: &mut Worker| {
            // Whoever asked may have given up.
            let _ = sender.send(action(worker));
        });
        self.commands
            .send(Command::Run(action))
            .map_err(|_| ServerError::Stopped)?;
        self.waker.wake()?;
        receiver.recv().map_err(|_| ServerError::Stopped)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = self.commands.send(Command::Stop);
            let _ = self.waker.wake();
            let _ = thread.join();
        }
    }
}

/// Why an embedded daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The system refused something.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It has stopped.
    #[error("the embedded daemon has stopped")]
    Stopped,
}

enum Command {
    Run(Box<dyn FnOnce(&mut Worker) + Send>),
    Stop,
}

struct Worker {
    poll: Poll,
    store: Store,
    listeners: BTreeMap<Token, Listener>,
    clients: BTreeMap<Token, Client>,
    tokens: BTreeMap<ConnId, Token>,
    last_token: usize,
    commands: Receiver<Command>,
}

struct Listener {
    socket: UnixListener,
    path: PathBuf,
    peer: Peer,
}

struct Client {
    stream: UnixStream,
    conn: ConnId,
    unsent: VecDeque<u8>,
}

impl Worker {
    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        loop {
            if let Err(error) = self.poll.poll(&mut events, None)
                && error.kind() != io::ErrorKind::Interrupted
            {
                return Err(error);
            }
            for event in &events {
                let token = event.token();
                if token == WAKER {
                    while let Ok(command) = self.commands.try_recv() {
                        match command {
                            Command::Run(action) => action(&mut self),
                            Command::Stop => return Ok(()),
                        }
                    }
                    self.send_all();
                    self.close_disconnected();
                } else if self.listeners.contains_key(&token) {
                    self.accept(token)?;
                } else {
                    self.receive(token);
                }
            }
        }
    }

    fn listen(&mut self, path: &Path, peer: Peer) -> io::Result<()> {
        // Left over from a daemon that was killed.
        let _ = fs::remove_file(path);
        let mut socket = UnixListener::bind(path)?;
        let token = self.next_token();
        self.poll
            .registry()
            .register(&mut socket, token, Interest::READABLE)?;
        self.listeners.insert(
            token,
            Listener {
                socket,
                path: path.into(),
                peer,
            },
        );
        Ok(())
    }

    fn accept(&mut self, listener: Token) -> io::Result<()> {
        while let Some(Listener { socket, peer, .. }) = self.listeners.get(&listener) {
            let peer = *peer;
            // Nobody is left, or somebody went before he was served.
            let Ok((mut stream, _)) = socket.accept() else {
                return Ok(());
            };
            let token = self.next_token();
            self.poll.registry().register(
                &mut stream,
                token,
                Interest::READABLE | Interest::WRITABLE,
            )?;
            let conn = self.store.connect(peer);
            self.tokens.insert(conn, token);
            self.clients.insert(
                token,
                Client {
                    stream,
                    conn,
                    unsent: VecDeque::new(),
                },
            );
        }
        Ok(())
    }

    /// Reads what there is. Events are edge-triggered: this goes on until the socket has no more.
    fn receive(&mut self, token: Token) {
        let mut buffer = [0; READ_SIZE];
        while let Some(client) = self.clients.get_mut(&token) {
            let flushed = client.flush();
            if flushed.is_err() || !self.store.is_connected(client.conn) {
                self.close(token);
                return;
            }
            // A client that does not read its replies is not listened to, until its socket is writable again.
            if client.unsent.len() > UNSENT_MAX {
                return;
            }
            match client.stream.read(&mut buffer) {
                Ok(len) if len > 0 => {
                    let conn = client.conn;
                    self.store
                        .handle_bytes(conn, buffer.get(..len).unwrap_or_default());
                    self.send_all();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => self.close(token),
            }
        }
    }

    /// Sends what is queued for anybody.
    fn send_all(&mut self) {
        let pending: Vec<_> = self.store.pending().collect();
        for conn in pending {
            let Some(token) = self.tokens.get(&conn) else {
                continue;
            };
            let Some(client) = self.clients.get_mut(token) else {
                continue;
            };
            while let Some(bytes) = self.store.poll_bytes(conn) {
                client.unsent.extend(bytes);
            }
            if client.flush().is_err() {
                self.close(*token);
            }
        }
    }

    /// Closes the sockets of connections that the store has closed.
    fn close_disconnected(&mut self) {
        let gone = self
            .clients
            .iter()
            .filter(|(_, client)| !self.store.is_connected(client.conn));
        let gone: Vec<_> = gone.map(|(token, _)| *token).collect();
        gone.into_iter().for_each(|token| self.close(token));
    }

    fn close(&mut self, token: Token) {
        if let Some(client) = self.clients.remove(&token) {
            self.tokens.remove(&client.conn);
            self.store.disconnect(client.conn);
        }
    }

    fn next_token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        for listener in self.listeners.values() {
            let _ = fs::remove_file(&listener.path);
        }
    }
}

impl Client {
    /// Writes as much as the socket takes.
    fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            let (front, _) = self.unsent.as_slices();
            match self.stream.write(front) {
                Ok(len) => drop(self.unsent.drain(..len)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
