//! What happens to the whole world.

use std::time::Duration;

use nova_agent_core::wire::{Message, Op, ReqId, TxId, payload};
use nova_agent_core::{Instant, Machine};

use super::super::World;
use super::{Checked, Simulation, Site};
use crate::xenstored::{Peer, Store};

impl Simulation {
    /// Now and then, something happens.
    pub(super) fn disturb(&mut self) -> Checked {
        let nth = self.pick(Site::Event);
        if nth == 0 {
            return Ok(());
        }
        let name = Site::Event.kinds()[nth - 1];
        self.tell(|| format!("FAULT: {name}"));
        match nth {
            1 if self.is_alive() => self.end_life()?,
            2 if self.is_alive() && self.stopping.is_none() => {
                self.stopping = Some(self.world.now);
                self.told = self.world.now;
                self.world.machine.handle_terminate(self.world.now);
                self.drain()?;
            }
            3 => self.break_connection("a fault of this world")?,
            4 => {
                self.world.is_up = false;
                self.up_at = Some(self.world.now.after(self.time()));
                self.break_connection("a fault of this world")?;
            }
            5 => self.restart_store(true)?,
            6 => self.restart_store(false)?,
            7 | 8 if self.world.peer != Peer::Dom0 => self.restore(nth == 8)?,
            9 => {
                let pause = [2, 40, 600, 7200][self.choose(Site::Detail, 4)];
                self.pause(Duration::from_secs(pause));
            }
            10 => self.withdraw()?,
            11 => {
                let shown = match self.choose(Site::Detail, 3) {
                    0 => vec![],
                    1 => vec![([203, 0, 113, 72].into(), 24)],
                    _ => vec![([198, 51, 100, 7].into(), 24)],
                };
                self.world.guest.set_kernel_shows(&shown);
            }
            12 => self.provision(),
            13 => {
                let paths = [
                    "data/host",
                    "data",
                    "data/host/nothing",
                    "data/host/nothing/at/all",
                    "@releaseDomain",
                ];
                let path = paths[self.choose(Site::Detail, paths.len())];
                let event = payload::fields([path.as_bytes(), b"nova-agent"]);
                if self.world.connection.is_some() {
                    self.arrive(Message::new(Op::WatchEvent, ReqId(0), TxId::NONE, event));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The agent is killed, or has left. Another one starts later.
    pub(super) fn end_life(&mut self) -> Checked {
        // First, so that nothing is told to a machine that is no more.
        self.revives = Some(self.world.now.after(self.time()));
        self.hang_up()?;
        self.orphan()?;
        self.stopping = None;
        self.is_ready = false;
        self.plan = None;
        self.told = Instant::default();
        self.world.deadline = None;
        self.world.machine = Machine::new(self.world.config.clone());
        Ok(())
    }

    fn restart_store(&mut self, keeps_data: bool) -> Checked {
        self.break_connection("the store was restarted")?;
        let World {
            store, dom0, peer, ..
        } = &mut self.world;
        if keeps_data {
            store.disconnect(dom0.connection());
        } else {
            *store = Store::new(store.flavour());
            if let Peer::Guest(domid) = peer {
                store.add_domain(*domid);
            }
            self.hosts.lose_all();
        }
        dom0.reconnect(store);
        // A machine that has connected at once has lost that connection, too.
        self.world.connection = None;
        Ok(())
    }

    /// The domain is saved and restored: it has another number, and nothing below `data`.
    fn restore(&mut self, loses_reply: bool) -> Checked {
        self.hear()?;
        self.world.change_domain();
        self.hosts.lose_all();
        if loses_reply {
            self.world.outbox.clear();
            self.arriving.retain(|arrival| !arrival.is_reply());
        }
        self.collect();
        Ok(())
    }

    /// Time passes, but not for the guest.
    fn pause(&mut self, pause: Duration) {
        self.world.now = self.world.now.after(pause);
        for work in &mut self.works {
            work.put_off(pause);
        }
    }

    /// From here on nothing goes wrong.
    pub(super) fn calm_down(&mut self) -> Checked {
        self.tell(|| "from here on nothing goes wrong".into());
        self.is_calm = true;
        self.world.is_up = true;
        self.up_at = None;
        self.world.guest.set_kernel_shows(&[]);
        self.hosts.stop();
        if self.world.config.rescan.is_none() && self.is_alive() {
            // What was not found then, is found at the next connection only.
            self.break_connection("the end of faults")?;
        }
        Ok(())
    }
}
