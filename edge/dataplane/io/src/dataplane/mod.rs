//! The packet path as one object: starts the threads, answers offers, passes commands on, adds numbers up.
//!
//! Everything here runs on the caller's thread and touches shards only through their command queues.

mod config;
mod credentials;
mod numbers;
mod trunk;

pub use config::{DataplaneConfig, OfferRejection, SessionAnswer, StartError, offer_reasons};
pub use numbers::Snapshot;

use crate::clock::Clock;
use crate::counters::WorkerCounters;
use crate::directory::{Directory, DirectoryEntry};
use crate::dtls::{Dtls, DtlsIdentity};
use crate::event_fd::EventFd;
use crate::events::{Event, EventReceiver, EventSender, event_queue};
use crate::features::Features;
use crate::handoff::{self, Mailbox};
use crate::link::{CommandRejection, PeerAddress, TrunkCommand, TrunkHandle, TrunkLink, TrunkReport};
use crate::plan;
use crate::shard::{OpenSession, Shard, ShardCommand, ShardParts, ShardReport};
use crate::udp::{MediaSocket, bind_shards};
use credentials::SystemRandom;
use crossbeam_channel::{Sender, bounded, unbounded};
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tradewind_core::packet::Ssrc;
use tradewind_core::receive::ReceiveHalf;
use tradewind_core::route::StreamRoute;
use tradewind_core::sdp::{self, LocalParameters, Remote, ViewParameters};
use tradewind_core::send::SendHalf;
use tradewind_core::session::Half;
use trunk::{TrunkControl, no_trunk};

/// A ufrag has two hexadecimal digits for its shard.
const SHARDS_MAX: usize = 256;
/// Commands that may wait for a shard: sessions opening and closing, hundreds per second at most.
const COMMANDS_MAX: usize = 65_536;
/// A thread that does not say within this time whether it was pinned hangs.
const PIN_TIMEOUT: Duration = Duration::from_secs(1);

/// A running packet path.
pub struct Dataplane {
    config: DataplaneConfig,
    features: Features,
    identity: DtlsIdentity,
    media: Vec<SocketAddr>,
    shards: Vec<ShardHandle>,
    trunk: Option<TrunkControl>,
    trunk_address: Option<SocketAddr>,
    directory: Arc<Directory>,
    events: EventReceiver,
    next_session_id: AtomicU64,
    draining: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct ShardHandle {
    commands: Sender<ShardCommand>,
    wake: Arc<EventFd>,
    counters: Arc<WorkerCounters>,
    report: Arc<Mutex<ShardReport>>,
}

impl ShardHandle {
    fn send(&self, command: ShardCommand) -> bool {
        let taken = self.commands.try_send(command).is_ok();
        self.wake.wake();
        taken
    }
}

impl Dataplane {
    /// Binds the ports and starts the threads.
    pub fn start(config: DataplaneConfig) -> Result<Dataplane, StartError> {
        if !(1..=SHARDS_MAX).contains(&config.shards) {
            return Err(StartError::Setting(format!(
                "shards is {}: choose 1 to {SHARDS_MAX}",
                config.shards
            )));
        }
        let features = Features::without(&config.disabled_features).map_err(|unknown| {
            let known = crate::features::FEATURE_NAMES.join(", ");
            StartError::Setting(format!(
                "unknown feature {unknown} in disabled_features; known are {known}"
            ))
        })?;
        let identity = DtlsIdentity::generate()
            .map_err(|error| StartError::Setting(format!("no certificate for DTLS could be made: {error}")))?;
        let (media, sockets) = bind_media(&config)?;
        let (event_sender, events) = event_queue()?;
        let clock = Clock::start();
        let directory = Arc::new(Directory::default());
        let has_trunk = !config.trunk.certificate_pem.is_empty();
        let mut mailboxes = handoff::connect(config.shards + usize::from(has_trunk))?;
        let trunk_mailbox = if has_trunk { mailboxes.pop() } else { None };

        let mut dataplane = Dataplane {
            features,
            identity,
            media,
            shards: Vec::new(),
            trunk: None,
            trunk_address: None,
            directory,
            events,
            next_session_id: AtomicU64::new(1),
            draining: AtomicBool::new(false),
            threads: Mutex::new(Vec::new()),
            config,
        };
        if let Some(mailbox) = trunk_mailbox {
            dataplane.start_trunk(mailbox, event_sender.clone(), clock)?;
        }
        for (index, (mailbox, sockets)) in mailboxes.into_iter().zip(sockets).enumerate() {
            dataplane.start_shard(index, mailbox, sockets, event_sender.clone(), clock)?;
        }
        Ok(dataplane)
    }

    fn start_shard(
        &mut self,
        index: usize,
        mailbox: Mailbox,
        sockets: [Option<Arc<MediaSocket>>; 2],
        events: EventSender,
        clock: Clock,
    ) -> Result<(), StartError> {
        let (commands, command_receiver) = bounded(COMMANDS_MAX);
        let handle = ShardHandle {
            commands,
            wake: mailbox.waker(),
            counters: Arc::new(WorkerCounters::default()),
            report: Arc::new(Mutex::new(ShardReport::default())),
        };
        let parts = ShardParts {
            edge_id: self.config.edge_id.as_str().into(),
            mailbox,
            shards: self.config.shards,
            sockets,
            commands: command_receiver,
            events,
            counters: Arc::clone(&handle.counters),
            directory: Arc::clone(&self.directory),
            report: Arc::clone(&handle.report),
            features: self.features,
            clock,
            peer_timeout: self.config.peer_timeout,
        };
        let cores = &self.config.pin_cores;
        let core = if cores.is_empty() {
            None
        } else {
            Some(cores[index % cores.len()])
        };
        let (pinned, is_pinned) = bounded(1);
        let thread = std::thread::Builder::new()
            .name(format!("shard-{index}"))
            .spawn(move || {
                let _ = pinned.send(core.map_or(Ok(()), numbers::pin));
                // A shard that is gone would leave its sessions black and its port deaf: better a restart that all see.
                if catch_unwind(AssertUnwindSafe(|| Shard::new(parts).run())).is_err() {
                    std::process::abort();
                }
            })?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        self.shards.push(handle);
        if let Ok(Err(error)) = is_pinned.recv_timeout(PIN_TIMEOUT) {
            let core = core.unwrap_or_default();
            return Err(StartError::Setting(format!(
                "shard {index} cannot be pinned to core {core}: {error}"
            )));
        }
        Ok(())
    }

    fn start_trunk(&mut self, mailbox: Mailbox, events: EventSender, clock: Clock) -> Result<(), StartError> {
        let (commands, command_receiver) = unbounded();
        let control = TrunkControl {
            commands,
            wake: mailbox.waker(),
            counters: Arc::new(WorkerCounters::default()),
            report: Arc::new(Mutex::new(TrunkReport::default())),
        };
        let link = TrunkLink {
            mailbox,
            commands: command_receiver,
            events,
            counters: Arc::clone(&control.counters),
            report: Arc::clone(&control.report),
            clock,
        };
        let TrunkHandle { local_address, thread } = crate::trunk::spawn(self.config.trunk.clone(), link)?;
        self.trunk_address = Some(local_address);
        self.trunk = Some(control);
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// The bound media addresses.
    pub fn media_addresses(&self) -> &[SocketAddr] {
        &self.media
    }

    /// The bound trunk address; `None` without a certificate.
    pub fn trunk_address(&self) -> Option<SocketAddr> {
        self.trunk_address
    }

    /// Readable while [`Dataplane::poll_events`] has something.
    pub fn event_fd(&self) -> RawFd {
        self.events.wake_fd()
    }

    /// Takes up to `limit` events.
    pub fn poll_events(&self, limit: usize) -> Vec<Event> {
        self.events.poll(limit)
    }

    /// Answers a WHIP offer.
    pub fn publish(&self, room: &str, offer: &[u8], incarnation: u64) -> Result<SessionAnswer, OfferRejection> {
        let offer = sdp::Offer::parse_within(offer, self.offer_limits())?;
        let (shard, local) = self.local_parameters();
        let (answer, plan) = sdp::answer_publish(&offer, &local)?;
        let cname = credentials::token();
        let half = ReceiveHalf::new(plan::receive_parameters(
            &plan,
            &cname,
            self.features,
            &mut SystemRandom,
        ));
        self.open(
            room,
            shard,
            local,
            &plan.remote,
            Half::Host(Box::new(half)),
            incarnation,
            answer,
        )
    }

    /// Answers a WHEP offer, before a publisher exists too.
    pub fn view(&self, room: &str, offer: &[u8]) -> Result<SessionAnswer, OfferRejection> {
        let offer = sdp::Offer::parse_within(offer, self.offer_limits())?;
        let (shard, local) = self.local_parameters();
        let tracks = self.directory.tracks(room);
        let [audio_ssrc, video_ssrc, video_rtx_ssrc] = credentials::distinct_ssrcs().map(Ssrc);
        let parameters = ViewParameters {
            cname: credentials::token(),
            audio_ssrc,
            video_ssrc,
            video_rtx_ssrc,
            tracks: &tracks,
        };
        let (answer, plan) = sdp::answer_view(&offer, &local, &parameters)?;
        let half = SendHalf::new(plan::send_parameters(&plan, self.features, &mut SystemRandom));
        let opened = self.open(
            room,
            shard,
            local,
            &plan.remote,
            Half::Viewer(Box::new(half)),
            0,
            answer,
        )?;
        Ok(SessionAnswer {
            left_out: plan.left_out.iter().map(|kind| kind.name()).collect(),
            ..opened
        })
    }

    fn offer_limits(&self) -> sdp::OfferLimits {
        if self.features.offer_limits {
            sdp::OfferLimits::default()
        } else {
            sdp::OfferLimits::NONE
        }
    }

    fn local_parameters(&self) -> (usize, LocalParameters) {
        let session_id = self.next_session_id.fetch_add(1, Ordering::Relaxed);
        let shard = self.directory.least_loaded(self.shards.len());
        let local = LocalParameters {
            ufrag: credentials::ufrag(shard, session_id),
            pwd: credentials::token(),
            fingerprint_sha256: self.identity.fingerprint_sha256(),
            candidates: self.candidates(),
            session_id,
        };
        (shard, local)
    }

    fn candidates(&self) -> Vec<SocketAddr> {
        let announced = self.config.announce.iter().filter_map(|ip| {
            let bound = self.media.iter().find(|bound| bound.is_ipv4() == ip.is_ipv4())?;
            Some(SocketAddr::new(*ip, bound.port()))
        });
        if self.config.announce.is_empty() {
            return self
                .media
                .iter()
                .filter(|bound| !bound.ip().is_unspecified())
                .copied()
                .collect();
        }
        announced.collect()
    }

    #[allow(clippy::too_many_arguments)] // one caller per role; a struct would only name these again
    fn open(
        &self,
        room: &str,
        shard: usize,
        local: LocalParameters,
        remote: &Remote,
        half: Half,
        incarnation: u64,
        sdp: String,
    ) -> Result<SessionAnswer, OfferRejection> {
        let refused = |reason, detail: &str| OfferRejection {
            status: 503,
            reason,
            detail: detail.to_owned(),
        };
        if self.draining.load(Ordering::Relaxed) {
            return Err(refused(
                "draining",
                "This edge takes no new sessions; ask another edge.",
            ));
        }
        let role = plan::dtls_role(remote);
        let dtls = Dtls::new(&self.identity, role, plan::fingerprint(remote))
            .map_err(|_| refused("out_of_memory", "No handshake could be prepared; try again later."))?;
        let entry = DirectoryEntry {
            shard,
            ice_ufrag: local.ufrag.clone(),
            ice_pwd: local.pwd.clone(),
            remote: remote.clone(),
            is_host: matches!(half, Half::Host(_)),
        };
        let session_id = local.session_id;
        if !self.directory.insert(session_id, entry, self.config.max_sessions) {
            return Err(refused(
                "full",
                "This edge has no room for another session; ask another edge.",
            ));
        }
        let command = ShardCommand::Open(Box::new(OpenSession {
            session_id,
            room: room.into(),
            ice_ufrag: local.ufrag.clone(),
            ice_pwd: local.pwd.clone(),
            dtls,
            dtls_role: role,
            half,
            incarnation,
        }));
        if !self.shards[shard].send(command) {
            self.directory.remove(session_id);
            return Err(refused(
                "overloaded",
                "Too many sessions open at once; try again in a second.",
            ));
        }
        Ok(SessionAnswer {
            session_id,
            sdp,
            ice_ufrag: local.ufrag,
            ice_pwd: local.pwd,
            left_out: Vec::new(),
        })
    }

    /// Validates a trickle PATCH.
    pub fn check_candidates(&self, session_id: u64, fragment: &[u8]) -> Result<(), OfferRejection> {
        let Some(entry) = self.directory.get(session_id) else {
            let detail = "No such session is open; POST a new offer.".to_owned();
            return Err(OfferRejection {
                status: 404,
                reason: "session_unknown",
                detail,
            });
        };
        sdp::check_trickle(fragment, &entry.remote)?;
        Ok(())
    }

    /// Ends a session; false when no such session is open.
    pub fn close_session(&self, session_id: u64, reason: &str) -> bool {
        // Taken out here, so that a second DELETE that comes before the shard has acted is told the truth.
        let Some(entry) = self.directory.remove(session_id) else {
            return false;
        };
        self.shards[entry.shard].send(ShardCommand::Close {
            session_id,
            reason: reason.to_owned(),
        })
    }

    /// Replaces the table of neighbours.
    pub fn set_peers(&self, peers: Vec<PeerAddress>) {
        if let Some(trunk) = &self.trunk {
            trunk.send(TrunkCommand::SetPeers(peers));
        }
    }

    /// Replaces the table of routes, or refuses it as a whole.
    pub fn set_routes(&self, routes: Vec<StreamRoute>) -> Result<(), CommandRejection> {
        let Some(trunk) = &self.trunk else {
            return if routes.is_empty() { Ok(()) } else { Err(no_trunk()) };
        };
        trunk.ask(|reply| TrunkCommand::SetRoutes(routes, reply))
    }

    /// People are in the room without watching.
    pub fn set_room_interest(&self, room: &str, interested: bool) {
        if let Some(trunk) = &self.trunk {
            trunk.send(TrunkCommand::SetRoomInterest {
                room: room.to_owned(),
                interested,
            });
        }
    }

    /// Queues a room message to a neighbour in the room's tree; never waits.
    pub fn send_room_message(&self, room: &str, peer: &str, payload: &[u8]) -> Result<(), CommandRejection> {
        let trunk = self.trunk.as_ref().ok_or_else(no_trunk)?;
        trunk.send_room_message(room, peer, payload)
    }

    /// Refuses new sessions from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Ends all sessions and threads. A second call does nothing.
    pub fn close(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        if threads.is_empty() {
            return;
        }
        for shard in &self.shards {
            shard.send(ShardCommand::Stop);
        }
        if let Some(trunk) = &self.trunk {
            trunk.send(TrunkCommand::Stop);
        }
        for thread in threads {
            // A thread that panicked has said so on stderr; there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        self.close();
    }
}

/// Sockets by shard, IPv4 first; the second family takes the first one's port when its own is 0 and that is free.
#[allow(clippy::type_complexity)] // read once, below
fn bind_media(config: &DataplaneConfig) -> Result<(Vec<SocketAddr>, Vec<[Option<Arc<MediaSocket>>; 2]>), StartError> {
    let mut media = Vec::new();
    let mut by_shard: Vec<[Option<Arc<MediaSocket>>; 2]> = (0..config.shards).map(|_| [None, None]).collect();
    for address in &config.media_bind {
        let family = usize::from(address.is_ipv6());
        if by_shard[0][family].is_some() {
            return Err(StartError::Setting(
                "media_bind takes at most one IPv4 and one IPv6 address".to_owned(),
            ));
        }
        let first = media.first().map_or(0, SocketAddr::port);
        let same = SocketAddr::new(address.ip(), first);
        let sockets = match address.port() {
            0 if first > 0 => bind_shards(same, config.shards).or_else(|_| bind_shards(*address, config.shards))?,
            _ => bind_shards(*address, config.shards)?,
        };
        media.push(sockets[0].local());
        for (shard, socket) in by_shard.iter_mut().zip(sockets) {
            shard[family] = Some(Arc::new(socket));
        }
    }
    if media.is_empty() {
        return Err(StartError::Setting(
            "media_bind is empty: give an address for media".to_owned(),
        ));
    }
    Ok((media, by_shard))
}
