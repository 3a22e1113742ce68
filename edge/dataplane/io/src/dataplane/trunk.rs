//! The trunk thread as Python's thread sees it: commands in, its numbers out.

use crate::counters::WorkerCounters;
use crate::event_fd::EventFd;
use crate::link::{CommandRejection, TrunkCommand, TrunkReport};
use crossbeam_channel::{Sender, bounded};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The trunk answers between two packets; a thread that does not within this time hangs.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);
/// Room messages are refused while so many commands wait: seconds of a crowd, with a thread that takes all it finds at
/// every turn.
const ROOM_MESSAGES_MAX: usize = 4_096;

/// What the rest of the process holds of the trunk thread.
pub struct TrunkControl {
    pub commands: Sender<TrunkCommand>,
    pub wake: Arc<EventFd>,
    pub counters: Arc<WorkerCounters>,
    pub report: Arc<Mutex<TrunkReport>>,
}

impl TrunkControl {
    /// Gives a command that needs no answer.
    pub fn send(&self, command: TrunkCommand) {
        // A trunk thread that has ended has said why; commands to it lead nowhere.
        let _ = self.commands.send(command);
        self.wake.wake();
    }

    /// Gives a command and waits for its answer.
    pub fn ask(
        &self,
        command: impl FnOnce(Sender<Result<(), CommandRejection>>) -> TrunkCommand,
    ) -> Result<(), CommandRejection> {
        let (reply, answer) = bounded(1);
        self.send(command(reply));
        answer.recv_timeout(REPLY_TIMEOUT).unwrap_or_else(|_| {
            let detail = "The trunk thread does not answer; look at its log and restart the edge.".to_owned();
            Err(CommandRejection {
                reason: "trunk_stopped",
                detail,
            })
        })
    }

    /// Queues a room message, or refuses it at once: the caller's loop has sockets to serve.
    pub fn send_room_message(&self, room: &str, peer: &str, payload: &[u8]) -> Result<(), CommandRejection> {
        let refused = |reason, detail| Err(CommandRejection { reason, detail });
        let is_up = {
            let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
            report.up.contains(peer)
        };
        if !is_up {
            let detail = format!("the trunk to {peer} is down; try again when it is up");
            return refused("trunk_down", detail);
        }
        if self.commands.len() >= ROOM_MESSAGES_MAX {
            let detail = "Too many messages wait for the trunks; try again in a second.".to_owned();
            return refused("trunk_busy", detail);
        }
        self.send(TrunkCommand::SendRoomMessage {
            room: room.to_owned(),
            peer: peer.to_owned(),
            payload: payload.to_vec(),
        });
        Ok(())
    }
}

/// Why a single edge cannot carry out what needs neighbours.
pub fn no_trunk() -> CommandRejection {
    let detail = "This edge runs without trunks; give it a certificate and a trunk address.".to_owned();
    CommandRejection {
        reason: "no_trunk",
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::unbounded;

    #[test]
    fn room_messages_never_wait_for_the_trunk_thread() {
        let (commands, waiting) = unbounded();
        let control = TrunkControl {
            commands,
            wake: Arc::new(EventFd::new().expect("an eventfd")),
            counters: Arc::default(),
            report: Arc::default(),
        };
        let reason = |result: Result<(), CommandRejection>| result.map_err(|rejection| rejection.reason);
        assert_eq!(
            reason(control.send_room_message("demo", "fra", b"?")),
            Err("trunk_down")
        );
        control
            .report
            .lock()
            .expect("no thread holds it")
            .up
            .insert("fra".to_owned());
        // Nobody takes anything out: a call that waited for an answer would time out here.
        for _ in 0..ROOM_MESSAGES_MAX {
            assert_eq!(control.send_room_message("demo", "fra", b"hello"), Ok(()));
        }
        assert_eq!(
            reason(control.send_room_message("demo", "fra", b"?")),
            Err("trunk_busy")
        );
        assert_eq!(reason(control.send_room_message("demo", "sg", b"?")), Err("trunk_down"));
        assert_eq!(waiting.len(), ROOM_MESSAGES_MAX);
        drop(waiting.recv());
        assert_eq!(control.send_room_message("demo", "fra", b"hello"), Ok(()));
    }
}
