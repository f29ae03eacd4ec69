//! The root complex as a whole: two links, the completer, the host's requests, interrupts, and errors on purpose.

use rand::SeedableRng;
use rand_pcg::Pcg32;

use super::completer::Completer;
use super::config::RcConfig;
use super::credits::{Amount, FlowClass};
use super::inject::{self, Direction, Injection, Injector, LinkError, Struck, TlpCounts, TlpKind};
use super::link::Link;
use super::requester::{Requester, Windows};
use super::stream::{Beat, Collector, Feeder};
use super::tlp::{Status, Tlp, WriteReq, enabled_span};
use super::{HostPort, HostRequest, PortError, ReadError, ReadFault, is_interrupt};

/// Requester ID of the root complex: bus 0, device 0, function 0.
const RC_ID: u16 = 0;
/// An address in none of the device's windows.
const NOWHERE: u64 = 0x10_0000;

/// What came over the link, header and payload bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkBytes {
    /// Host to device.
    pub to_device: u64,
    /// Device to host.
    pub to_host: u64,
}

impl LinkBytes {
    /// What went over the link since an earlier reading.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            to_device: self.to_device - before.to_device,
            to_host: self.to_host - before.to_host,
        }
    }
}

/// Does anything get through?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    /// Nothing is answered, either way.
    Hung,
    /// Until a cycle.
    Down(u64),
    /// There is no device any more.
    Gone,
}

/// A root complex with one device behind its link. Call [`RootComplex::offer`] before and
/// [`RootComplex::clock`] after each device clock.
#[derive(Debug)]
pub struct RootComplex {
    config: RcConfig,
    now: u64,
    down: Link,
    up: Link,
    feeder: Feeder,
    /// The packet on its way into the device takes this of its buffer.
    feeding: Option<(FlowClass, Amount)>,
    collector: Collector,
    completer: Completer,
    requester: Requester,
    injector: Injector,
    rng: Pcg32,
    state: State,
    /// The device is to be reset.
    reset: bool,
    host_turn: bool,
    malformed: u64,
}

impl RootComplex {
    /// A root complex with an idle link.
    #[must_use]
    pub fn new(config: &RcConfig) -> Self {
        let windows = Windows {
            registers: config.bar0,
            vram: config.bar2,
        };
        Self {
            config: *config,
            now: 0,
            down: Link::new(&config.down()),
            up: Link::new(&config.up()),
            feeder: Feeder::default(),
            feeding: None,
            collector: Collector::default(),
            completer: Completer::new(config.completer, RC_ID),
            requester: Requester::new(windows, RC_ID, config.bdf),
            injector: Injector::default(),
            rng: Pcg32::seed_from_u64(config.seed ^ 0x726f_6f74),
            state: State::Up,
            reset: false,
            host_turn: false,
            malformed: 0,
        }
    }

    /// The beat that the device may take in this clock.
    #[must_use]
    pub fn offer(&self) -> Option<Beat> {
        self.feeder.beat()
    }

    /// Can a beat of the device be taken in this clock?
    #[must_use]
    pub fn ready(&self) -> bool {
        self.up.ready(self.now)
    }

    /// One clock has passed: `taken` tells that the device took the beat on offer, `beat` is what it sent.
    pub fn clock(&mut self, taken: bool, beat: Option<&Beat>, host: &mut dyn HostPort) {
        self.now += 1;
        match self.state {
            State::Up | State::Hung => {}
            State::Down(until) if self.now >= until => self.state = State::Up,
            State::Down(_) | State::Gone => {
                self.refuse_all(host);
                return;
            }
        }
        if taken {
            self.feeder.advance();
        }
        if !self.feeder.is_busy()
            && let Some((class, room)) = self.feeding.take()
        {
            self.down.free(self.now, class, room);
        }
        if let Some(beat) = beat {
            match self.collector.push(beat) {
                Ok(Some(tlp)) => self.up.send(self.now, tlp),
                Ok(None) => {}
                Err(_) => self.log(PortError::Malformed, host),
            }
        }
        self.exchange_dllps();
        self.up.pump(self.now);
        while let Some(tlp) = self.up.receive(self.now) {
            self.up
                .free(self.now, FlowClass::of(&tlp), Amount::of(&tlp));
            if self.state == State::Up {
                self.arrive_at_host(tlp, host);
            }
        }
        if self.down.ready(self.now) {
            self.send_next(host);
        }
        self.down.pump(self.now);
        if !self.feeder.is_busy()
            && let Some(tlp) = self.down.receive(self.now)
        {
            self.feeding = Some((FlowClass::of(&tlp), Amount::of(&tlp)));
            if self.state == State::Up {
                self.arrive_at_device(tlp, host);
            }
        }
    }

    /// What one end has to tell the other goes over the other direction.
    fn exchange_dllps(&mut self) {
        for dllp in self.up.due(self.now) {
            self.down.send_dllp(dllp);
        }
        for dllp in self.down.due(self.now) {
            self.up.send_dllp(dllp);
        }
        while let Some(dllp) = self.down.receive_dllp(self.now) {
            self.up.told(dllp);
        }
        while let Some(dllp) = self.up.receive_dllp(self.now) {
            self.down.told(dllp);
        }
    }

    fn send_next(&mut self, host: &mut dyn HostPort) {
        // In turn: neither what the device waits for nor what the host wants may starve the other.
        self.host_turn = !self.host_turn;
        let next = if self.host_turn {
            let request = self.requester.next(host);
            request.or_else(|| self.completer.next(self.now, host, &mut self.rng))
        } else {
            let completion = self.completer.next(self.now, host, &mut self.rng);
            completion.or_else(|| self.requester.next(host))
        };
        if let Some(tlp) = next {
            self.down.send(self.now, tlp);
        }
    }

    /// Without a device writes are lost. Reads give ones once it is gone, as from an empty slot; while the link is down
    /// they fail.
    fn refuse_all(&mut self, host: &mut dyn HostPort) {
        while let Some(request) = host.next_request() {
            if let HostRequest::Read { id, len, .. } = request {
                let answer = match self.state {
                    State::Gone => Ok(vec![0xff; len]),
                    _ => Err(ReadError::LinkDown),
                };
                host.read_done(id, answer);
            }
        }
    }

    /// All that is under way is lost.
    fn lose_all(&mut self, host: &mut dyn HostPort) {
        self.down.lose(&self.config.down(), self.now);
        self.up.lose(&self.config.up(), self.now);
        self.feeder = Feeder::default();
        self.feeding = None;
        self.collector = Collector::default();
        self.completer.clear();
        self.requester.fail(host, ReadError::LinkDown);
    }

    /// The link goes down for some cycles, and the device is to be reset ([`RootComplex::take_reset`]).
    fn go_down(&mut self, cycles: u64, host: &mut dyn HostPort) {
        self.lose_all(host);
        self.state = State::Down(self.now + cycles);
        self.reset = true;
    }

    /// Resets the device over the link (hot reset): all that is under way is lost. One that was told to hang does not hear
    /// it.
    pub fn hot_reset(&mut self, host: &mut dyn HostPort) {
        match self.state {
            State::Gone | State::Hung => {}
            // One that comes up later anyway.
            State::Down(_) => self.reset = true,
            State::Up => self.go_down(1, host),
        }
    }

    /// Is the device to be reset now? Once for each time.
    pub fn take_reset(&mut self) -> bool {
        std::mem::take(&mut self.reset)
    }

    /// Lets one read of the device to come fail.
    pub fn fail_read(&mut self, fault: ReadFault) {
        self.completer.fail_read(fault);
    }

    /// Adds errors to come.
    pub fn inject(&mut self, plan: &[Injection]) {
        self.injector.add(plan);
    }

    /// From now on keeps the kind of each TLP that arrives.
    pub fn record(&mut self) {
        self.injector.record();
    }

    /// The kinds of the TLPs that arrived since [`RootComplex::record`].
    #[must_use]
    pub fn recorded(&self, direction: Direction) -> &[TlpKind] {
        self.injector.recorded(direction)
    }

    /// TLPs that have arrived so far.
    #[must_use]
    pub fn counts(&self) -> TlpCounts {
        self.injector.counts()
    }

    /// The errors that have struck so far.
    #[must_use]
    pub fn struck(&self) -> &[Struck] {
        self.injector.struck()
    }

    /// From now on nothing gets through, either way.
    pub fn hang(&mut self) {
        if self.state != State::Gone {
            self.state = State::Hung;
        }
    }

    /// Is nothing under way in the root complex or on the link?
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.down.is_idle()
            && self.up.is_idle()
            && !self.feeder.is_busy()
            && self.completer.is_idle()
            && self.requester.is_idle()
    }

    /// Bytes over the link so far.
    #[must_use]
    pub fn bytes(&self) -> LinkBytes {
        LinkBytes {
            to_device: self.down.bytes(),
            to_host: self.up.bytes(),
        }
    }

    /// Bytes over the link so far, framing and DLLPs too.
    #[must_use]
    pub fn wire_bytes(&self) -> LinkBytes {
        LinkBytes {
            to_device: self.down.wire_bytes(),
            to_host: self.up.wire_bytes(),
        }
    }

    /// Packets of the device that were malformed or that nobody waited for.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    fn log(&mut self, error: PortError, host: &mut dyn HostPort) {
        self.malformed += 1;
        host.port_error(error);
    }

    /// Errors that are not about this TLP alone; true for those that take it along.
    fn strike_link(&mut self, error: LinkError, to: Direction, host: &mut dyn HostPort) -> bool {
        match error {
            LinkError::Starve(cycles) => {
                let until = self.now + cycles;
                match to {
                    Direction::ToDevice => self.down.starve(until),
                    Direction::ToHost => self.up.starve(until),
                }
                false
            }
            LinkError::Retrain(cycles) => {
                self.down.pause(self.now + cycles);
                self.up.pause(self.now + cycles);
                false
            }
            LinkError::Down(cycles) => {
                self.go_down(cycles, host);
                host.port_error(PortError::LinkDown);
                true
            }
            LinkError::Remove => {
                self.lose_all(host);
                self.state = State::Gone;
                host.port_error(PortError::Removed);
                true
            }
            _ => false,
        }
    }

    fn arrive_at_host(&mut self, tlp: Tlp, host: &mut dyn HostPort) {
        let to = Direction::ToHost;
        let Some(error) = self.injector.arrives(self.now, to, &tlp) else {
            return self.take(tlp, host);
        };
        match (error, tlp) {
            (LinkError::Drop, _) => {}
            (LinkError::Unsupported, tlp) => self.refuse(&tlp, Status::Unsupported, host),
            (LinkError::Abort, tlp) => self.refuse(&tlp, Status::Abort, host),
            (LinkError::Poison, Tlp::Write(_)) => self.log(PortError::Poisoned, host),
            (LinkError::Poison, Tlp::Completion(mut cpl)) => {
                cpl.poisoned = true;
                self.take(Tlp::Completion(cpl), host);
            }
            // A poisoned AtomicOp is refused (section 2.7.2.1).
            (LinkError::Poison, tlp) => self.refuse(&tlp, Status::Unsupported, host),
            (LinkError::WrongLength, tlp) => {
                match Tlp::decode(inject::wrong_length(&tlp), tlp.payload()) {
                    Ok(tlp) => self.take(tlp, host),
                    Err(_) => self.log(PortError::Malformed, host),
                }
            }
            (LinkError::WrongTag, tlp) => self.take(inject::wrong_tag(tlp), host),
            (error, tlp) => {
                if !self.strike_link(error, to, host) {
                    self.take(tlp, host);
                }
            }
        }
    }

    /// Refuses a TLP of the device.
    fn refuse(&mut self, tlp: &Tlp, status: Status, host: &mut dyn HostPort) {
        match (inject::refusal(tlp, RC_ID, status), tlp) {
            (Some(cpl), Tlp::Completion(_)) => self.take(Tlp::Completion(cpl), host),
            (Some(cpl), _) => self.completer.answer(self.now, cpl, &mut self.rng),
            (None, _) if status == Status::Abort => self.log(PortError::Aborted, host),
            (None, _) => self.log(PortError::Unsupported, host),
        }
    }

    fn arrive_at_device(&mut self, tlp: Tlp, host: &mut dyn HostPort) {
        let to = Direction::ToDevice;
        let Some(error) = self.injector.arrives(self.now, to, &tlp) else {
            return self.feeder.load(&tlp);
        };
        match (error, tlp) {
            (LinkError::Drop, _) => {}
            // The device itself drops what is for none of its windows.
            (LinkError::Unsupported | LinkError::Abort, Tlp::Write(req)) => {
                self.feeder.load(&Tlp::Write(WriteReq {
                    addr: NOWHERE | req.addr & 0xffc,
                    ..req
                }));
            }
            (LinkError::Unsupported | LinkError::Abort, tlp) => {
                let status = if error == LinkError::Abort {
                    Status::Abort
                } else {
                    Status::Unsupported
                };
                let refusal = inject::refusal(&tlp, self.config.bdf, status);
                match (refusal, tlp) {
                    (Some(cpl), Tlp::Completion(_)) => self.feeder.load(&Tlp::Completion(cpl)),
                    (Some(cpl), _) => self.take(Tlp::Completion(cpl), host),
                    (None, _) => {}
                }
            }
            (LinkError::Poison, Tlp::Write(req)) => self.feeder.load(&Tlp::Write(WriteReq {
                poisoned: true,
                ..req
            })),
            (LinkError::Poison, Tlp::Completion(mut cpl)) => {
                cpl.poisoned = true;
                self.feeder.load(&Tlp::Completion(cpl));
            }
            (LinkError::WrongLength, tlp) => self
                .feeder
                .load_as(inject::wrong_length(&tlp), tlp.payload()),
            (LinkError::WrongTag, tlp) => self.feeder.load(&inject::wrong_tag(tlp)),
            (error, tlp) => {
                if !self.strike_link(error, to, host) {
                    self.feeder.load(&tlp);
                }
            }
        }
    }

    fn take(&mut self, tlp: Tlp, host: &mut dyn HostPort) {
        match tlp {
            Tlp::Write(req) if is_interrupt(req.addr) => {
                let mut raw = [0; 4];
                raw.copy_from_slice(&req.data[..4]);
                host.interrupt((u32::from_le_bytes(raw) & 0xffff) as u16);
            }
            Tlp::Write(req) if req.data.len() as u64 > self.config.completer.mps => {
                self.log(PortError::Malformed, host);
            }
            Tlp::Write(req) if req.poisoned => self.log(PortError::Poisoned, host),
            Tlp::Write(req) => {
                // Posted: a write that nobody takes is lost, as on a real bus, but logged.
                if write(&req, host).is_err() {
                    self.log(PortError::Unsupported, host);
                }
            }
            Tlp::Read(req) if u64::from(req.dwords) * 4 > self.config.mrrs => {
                self.log(PortError::Malformed, host);
            }
            Tlp::Read(req) => self.completer.read(self.now, &req, &mut self.rng),
            Tlp::Atomic(req) => self.completer.atomic(self.now, &req, host, &mut self.rng),
            Tlp::Completion(cpl) => {
                // One that nobody waits for is not an error for who sent it (section 2.3.2).
                if !self.requester.completion(&cpl, host) {
                    self.malformed += 1;
                }
            }
        }
    }
}

fn write(req: &WriteReq, host: &mut dyn HostPort) -> Result<(), super::BusError> {
    let dwords = req.data.len() / 4;
    if dwords <= 2 {
        // One or two DWs may have holes between their enabled bytes.
        for (i, byte) in req.data.iter().enumerate() {
            let be = if i < 4 { req.first_be } else { req.last_be };
            if be >> (i % 4) & 1 == 1 {
                host.mem_write(req.addr + i as u64, std::slice::from_ref(byte))?;
            }
        }
        return Ok(());
    }
    let (start, len) = enabled_span(req.addr, dwords as u16, req.first_be, req.last_be);
    let skip = (start - req.addr) as usize;
    host.mem_write(start, &req.data[skip..skip + len])
}
