//! One QUIC connection: a task that sends datagrams, one that reads them, and one per stream.

use crate::counters::{Counter, DropReason};
use crate::trunk::hub::{ConnectionId, Hub};
use crate::trunk::queue::SendQueue;
use bytes::Bytes;
use quinn::{Connection, RecvStream, SendDatagramError, VarInt};
use std::cell::RefCell;
use std::rc::Rc;
use tokio::sync::{Notify, mpsc};
use tradewind_core::mesh::wire::{CONTROL_FLOW, MESSAGE_BYTES_MAX};
use tradewind_core::mesh::{EdgeId, put_varint};

/// Application close codes; `docs/wire.md` lists them.
pub const CLOSE_SHUTDOWN: u32 = 1;
/// Another connection to the same neighbour is kept.
pub const CLOSE_DUPLICATE: u32 = 2;
/// The certificate names nobody who may be a neighbour.
pub const CLOSE_UNKNOWN_PEER: u32 = 3;
/// No stream needs this neighbour any more.
pub const CLOSE_UNUSED: u32 = 4;
/// A stream's framing is broken.
const STOP_MALFORMED: u32 = 1;
/// Messages that may wait for a stream; at the bound a room message is refused and a subscription ends the connection.
const MESSAGES_MAX: usize = 4_096;

/// What the hub holds of a connection.
pub struct Link {
    /// Tells this connection from the neighbour's other ones.
    pub id: ConnectionId,
    /// The QUIC connection.
    pub connection: Connection,
    /// Whether this edge dialled.
    pub dialled: bool,
    queue: Rc<RefCell<SendQueue>>,
    queued: Rc<Notify>,
    control: mpsc::Sender<Vec<u8>>,
    rooms: mpsc::Sender<Vec<u8>>,
}

impl Link {
    /// Starts the connection's tasks.
    pub fn start(
        hub: &Rc<RefCell<Hub>>,
        peer: &EdgeId,
        id: ConnectionId,
        connection: Connection,
        dialled: bool,
    ) -> Self {
        let queue = Rc::new(RefCell::new(SendQueue::default()));
        let queued = Rc::new(Notify::new());
        let (control, control_messages) = mpsc::channel(MESSAGES_MAX);
        let (rooms, room_messages) = mpsc::channel(MESSAGES_MAX);
        let spawn = tokio::task::spawn_local::<std::pin::Pin<Box<dyn Future<Output = ()>>>>;
        spawn(Box::pin(send_datagrams(
            Rc::clone(hub),
            connection.clone(),
            Rc::clone(&queue),
            Rc::clone(&queued),
        )));
        spawn(Box::pin(send_messages(connection.clone(), control_messages)));
        spawn(Box::pin(send_messages(connection.clone(), room_messages)));
        spawn(Box::pin(read_datagrams(
            Rc::clone(hub),
            peer.clone(),
            id,
            connection.clone(),
        )));
        spawn(Box::pin(read_streams(
            Rc::clone(hub),
            peer.clone(),
            id,
            connection.clone(),
        )));
        Link {
            id,
            connection,
            dialled,
            queue,
            queued,
            control,
            rooms,
        }
    }

    /// Queues a datagram; returns how many it displaced.
    pub fn send(
        &self,
        priority: tradewind_core::mesh::Priority,
        datagram: Vec<u8>,
        now: tradewind_core::time::Time,
    ) -> u64 {
        let dropped = self.queue.borrow_mut().push(priority, datagram, now);
        self.queued.notify_one();
        dropped
    }

    /// Queues a message for a stream; false when too many wait.
    pub fn send_message(&self, message: Vec<u8>, room: bool) -> bool {
        let sender = if room { &self.rooms } else { &self.control };
        sender.try_send(message).is_ok()
    }
}

async fn send_datagrams(
    hub: Rc<RefCell<Hub>>,
    connection: Connection,
    queue: Rc<RefCell<SendQueue>>,
    queued: Rc<Notify>,
) {
    let (clock, counters) = {
        let hub = hub.borrow();
        (hub.link.clock, std::sync::Arc::clone(&hub.link.counters))
    };
    drop(hub);
    loop {
        let popped = queue.borrow_mut().pop(clock.now());
        counters.drop_many(DropReason::TrunkQueueStale, popped.stale);
        let Some(datagram) = popped.datagram else {
            tokio::select! {
                () = queued.notified() => continue,
                _ = connection.closed() => return,
            }
        };
        if connection.max_datagram_size().is_some_and(|max| datagram.len() > max) {
            counters.add(Counter::TrunkOversize, 1);
            tokio::task::spawn_local(send_large(connection.clone(), datagram));
            continue;
        }
        // Waits while quinn's short buffer is full, so that what is more urgent may still overtake the rest.
        match connection.send_datagram_wait(Bytes::from(datagram)).await {
            Ok(()) => {}
            Err(SendDatagramError::ConnectionLost(_)) => return,
            Err(_) => counters.drop_many(DropReason::TrunkQueueFull, 1),
        }
    }
}

/// RTP-over-QUIC streams: flow id, then each packet with its length.
async fn send_large(connection: Connection, datagram: Vec<u8>) {
    let flow_bytes = 1usize << (datagram[0] >> 6);
    let Some((flow, packet)) = datagram.split_at_checked(flow_bytes) else {
        return;
    };
    let Ok(mut stream) = connection.open_uni().await else {
        return;
    };
    let mut framed = Vec::with_capacity(datagram.len() + 8);
    framed.extend_from_slice(flow);
    put_varint(&mut framed, packet.len() as u64);
    framed.extend_from_slice(packet);
    // A lost connection is noticed by its reader.
    if stream.write_all(&framed).await.is_ok() {
        let _ = stream.finish();
    }
}

async fn send_messages(connection: Connection, mut messages: mpsc::Receiver<Vec<u8>>) {
    let Some(first) = messages.recv().await else { return };
    let Ok(mut stream) = connection.open_uni().await else {
        return;
    };
    let mut framed = Vec::new();
    put_varint(&mut framed, CONTROL_FLOW);
    let mut next = Some(first);
    while let Some(message) = next {
        put_varint(&mut framed, message.len() as u64);
        framed.extend_from_slice(&message);
        if stream.write_all(&framed).await.is_err() {
            return;
        }
        framed.clear();
        next = messages.recv().await;
    }
}

async fn read_datagrams(hub: Rc<RefCell<Hub>>, peer: EdgeId, id: ConnectionId, connection: Connection) {
    let error = loop {
        match connection.read_datagram().await {
            Ok(datagram) => Hub::handle_datagram(&hub, &peer, id, &datagram),
            Err(error) => break error,
        }
    };
    Hub::handle_closed(&hub, &peer, id, &error);
}

async fn read_streams(hub: Rc<RefCell<Hub>>, peer: EdgeId, id: ConnectionId, connection: Connection) {
    while let Ok(stream) = connection.accept_uni().await {
        let (hub, peer) = (Rc::clone(&hub), peer.clone());
        tokio::task::spawn_local(async move {
            let mut stream = stream;
            if read_messages(&hub, &peer, id, &mut stream).await.is_none() {
                hub.borrow()
                    .link
                    .counters
                    .drop_many(DropReason::TrunkStreamMalformed, 1);
                let _ = stream.stop(VarInt::from_u32(STOP_MALFORMED));
            }
        });
    }
}

/// `Some` at a clean end or a lost connection, `None` when the framing is broken.
async fn read_messages(hub: &Rc<RefCell<Hub>>, peer: &EdgeId, id: ConnectionId, stream: &mut RecvStream) -> Option<()> {
    let flow = match read_varint(stream).await {
        Field::Value(flow) => flow,
        Field::End => return None, // a stream without even a flow id
        Field::Broken => return None,
        Field::Lost => return Some(()),
    };
    loop {
        let length = match read_varint(stream).await {
            Field::Value(length) if length <= MESSAGE_BYTES_MAX as u64 => length as usize,
            Field::End | Field::Lost => return Some(()),
            _ => return None,
        };
        let mut message = vec![0; length];
        match stream.read_exact(&mut message).await {
            Ok(()) => {}
            Err(quinn::ReadExactError::FinishedEarly(_)) => return None,
            Err(quinn::ReadExactError::ReadError(_)) => return Some(()),
        }
        if flow == CONTROL_FLOW {
            Hub::handle_stream_message(hub, peer, id, &message);
        } else {
            let mut datagram = Vec::with_capacity(message.len() + 8);
            put_varint(&mut datagram, flow);
            datagram.extend_from_slice(&message);
            Hub::handle_datagram(hub, peer, id, &Bytes::from(datagram));
        }
    }
}

enum Field {
    Value(u64),
    End,
    Broken,
    Lost,
}

async fn read_varint(stream: &mut RecvStream) -> Field {
    let mut bytes = [0u8; 8];
    match stream.read(&mut bytes[..1]).await {
        Ok(Some(1)) => {}
        Ok(_) => return Field::End,
        Err(_) => return Field::Lost,
    }
    let length = 1usize << (bytes[0] >> 6);
    match stream.read_exact(&mut bytes[1..length]).await {
        Ok(()) => {}
        Err(quinn::ReadExactError::FinishedEarly(_)) => return Field::Broken,
        Err(quinn::ReadExactError::ReadError(_)) => return Field::Lost,
    }
    tradewind_core::mesh::Reader::new(&bytes[..length])
        .varint()
        .map_or(Field::Broken, Field::Value)
}
