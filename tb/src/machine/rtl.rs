//! The verilated device behind the root complex, with its memory.

use std::sync::Arc;

use hmmu_rtl::{Config, In, Sim};

use super::config::MachineConfig;
use super::device::{Device, DeviceFailure, HostMark, Tlps};
use super::host::HostSide;
use super::host_waves::HostWaves;
use super::steps::note;
use super::vram::{Vram, VramRequest};
use crate::log::EventLog;
use crate::rc::{Beat, HostPort, LinkBytes, RcConfig, ReadFault, RootComplex};
use crate::wave::{Recording, WaveTime};

/// Bus addresses of the device's windows, above and below 4 GiB as firmware places them.
const BAR0: u64 = 0xf000_0000;
const BAR2: u64 = 0x40_0000_0000;
/// Bus 1, device 0, function 0.
const BDF: u16 = 0x0100;

/// The verilated device.
pub struct RtlDevice {
    sim: Sim,
    complex: RootComplex,
    vram: Vram,
    mark: HostMark,
    /// Clocks since the machine was made.
    clocks: u64,
    waves: Option<Recording>,
    /// The host's part of the waves that are being written.
    shown: Option<HostWaves>,
    /// The clock before which waves begin or end.
    turn: u64,
    time: WaveTime,
    failed: Option<u64>,
    log: Option<(Arc<EventLog>, usize)>,
}

impl RtlDevice {
    /// A device of the machine out of reset, behind an idle link.
    ///
    /// # Errors
    /// The design stopped in reset.
    pub fn new(config: &MachineConfig, device: usize) -> Result<Self, String> {
        let sim = Sim::new(&Config {
            bdf: BDF,
            mps: encoded(config.pcie.mps),
            mrrs: encoded(config.pcie.mrrs),
            rcb128: config.pcie.completer.rcb == 128,
            bar0: BAR0,
            bar2: BAR2,
            vram_size: config.vram,
        })
        .map_err(|error| error.to_string())?;
        let complex = RootComplex::new(&RcConfig {
            link: config.link,
            clock_hz: config.clock_hz,
            link_latency: config.cycles_of(config.link_latency_ns),
            link_jitter: config.cycles_of(config.pcie.link_jitter_ns),
            completer: config.completer(),
            mrrs: config.pcie.mrrs,
            device_credits: config.pcie.device_credits,
            host_credits: config.pcie.host_credits,
            bar0: BAR0,
            bar2: BAR2,
            bdf: BDF,
            seed: config.device_seed(device),
        });
        let vram = Vram::new(config.vram, config.vram_latency);
        let mut time = WaveTime::default();
        time.from_here(0, sim.time());
        Ok(Self {
            sim,
            complex,
            vram,
            mark: HostMark::default(),
            clocks: 0,
            waves: None,
            shown: None,
            turn: u64::MAX,
            time,
            failed: None,
            log: None,
        })
    }

    /// One clock.
    ///
    /// # Errors
    /// An assertion of the design failed.
    pub fn clock(&mut self, host: &mut dyn HostPort) -> Result<(), DeviceFailure> {
        if self.clocks == self.turn {
            self.turn_waves()?;
        }
        self.show_host();
        let offer = self.complex.offer();
        let data = self.vram.data();
        let beat = offer.unwrap_or_default();
        let input = In {
            rx_valid: offer.is_some(),
            rx_sop: beat.sop,
            rx_eop: beat.eop,
            rx_hdr: split(beat.header),
            rx_data: split(beat.data),
            tx_ready: self.complex.ready(),
            vram_req_ready: self.vram.ready(),
            vram_rsp_valid: data.is_some(),
            vram_rsp_rdata: split(data.unwrap_or_default()),
            host_state: self.mark.state as u8,
            host_page: self.mark.page,
            host_fault_id: self.mark.fault,
        };
        let out = match self.sim.tick(&input) {
            Ok(out) => out,
            Err(error) => {
                self.failed.get_or_insert(self.clocks);
                return Err(DeviceFailure(error.to_string()));
            }
        };
        if out.steps != 0
            && let Some((log, number)) = &self.log
        {
            for (kind, step) in self.sim.steps(&out) {
                // The probe shows them a clock late.
                note(log, *number, self.clocks.saturating_sub(1), kind, &step);
            }
        }
        self.clocks += 1;
        let sent = (out.tx_valid && input.tx_ready).then(|| Beat {
            sop: out.tx_sop,
            eop: out.tx_eop,
            header: join(out.tx_hdr),
            data: join(out.tx_data),
        });
        self.complex
            .clock(input.rx_valid && out.rx_ready, sent.as_ref(), host);
        if self.complex.take_reset() {
            return self.reset_sim();
        }
        let request = (out.vram_req_valid && input.vram_req_ready).then(|| VramRequest {
            addr: out.vram_req_addr,
            write: out
                .vram_req_write
                .then(|| (join(out.vram_req_wdata), out.vram_req_wstrb)),
        });
        self.vram
            .clock(input.vram_rsp_valid && out.vram_rsp_ready, request);
        Ok(())
    }

    fn reset_sim(&mut self) -> Result<(), DeviceFailure> {
        self.vram.reset();
        let reset = self.sim.reset();
        self.time.from_here(self.clocks, self.sim.time());
        reset.map_err(|error| DeviceFailure(error.to_string()))
    }

    /// Shows in the waves what the log has got.
    fn show_host(&mut self) {
        let (Some(shown), Some((log, _))) = (&mut self.shown, &self.log) else {
            return;
        };
        let from = self.waves.as_ref().map_or(0, |waves| waves.window.from);
        shown.take(&mut self.sim, &log.take_shown(), from);
        shown.show(&mut self.sim);
    }

    /// Ends the waves with what the log has got until now.
    fn end_waves(&mut self) {
        self.show_host();
        if let Some(mut shown) = self.shown.take() {
            while self.sim.trace_moment() && shown.show(&mut self.sim) {}
        }
        if let Some((log, _)) = &self.log {
            log.hide();
        }
        self.sim.trace_close();
    }

    /// Begins the waves with the next clock, or ends them before it.
    fn turn_waves(&mut self) -> Result<(), DeviceFailure> {
        self.turn = u64::MAX;
        let Some(waves) = &self.waves else {
            return Ok(());
        };
        if !waves.window.contains(self.clocks) {
            self.end_waves();
            return Ok(());
        }
        self.shown = Some(HostWaves::new(&self.sim));
        self.turn = waves.window.to.saturating_add(1);
        let opened = self.sim.trace_open(&waves.fst, waves.depth);
        opened.map_err(|error| DeviceFailure(error.message))
    }
}

/// A size by the encoding of the Device Control register.
fn encoded(bytes: u64) -> u8 {
    (bytes / 128).max(1).ilog2() as u8
}

fn split(value: u128) -> [u64; 2] {
    [value as u64, (value >> 64) as u64]
}

fn join(words: [u64; 2]) -> u128 {
    u128::from(words[0]) | u128::from(words[1]) << 64
}

impl Device for RtlDevice {
    fn run(&mut self, cycles: u64, host: &mut HostSide) -> Result<u64, DeviceFailure> {
        let mut ran = 0;
        while ran < cycles {
            self.clock(host)?;
            ran += 1;
            if host.noticed() {
                break;
            }
        }
        Ok(ran)
    }

    fn peek(&mut self, at: u64, buf: &mut [u8]) {
        self.vram.peek(at, buf);
    }

    fn poke(&mut self, at: u64, data: &[u8]) {
        self.vram.poke(at, data);
    }

    fn link_bytes(&self) -> LinkBytes {
        self.complex.bytes()
    }

    fn fail_read(&mut self, fault: ReadFault) {
        self.complex.fail_read(fault);
    }

    fn hang(&mut self) {
        self.complex.hang();
    }

    fn reset(&mut self, host: &mut HostSide) -> Result<(), DeviceFailure> {
        self.complex.hot_reset(host);
        if self.complex.take_reset() {
            self.reset_sim()?;
        }
        Ok(())
    }

    fn attach(&mut self, log: &Arc<EventLog>, number: usize) {
        self.log = Some((Arc::clone(log), number));
    }

    fn tlps(&mut self) -> Option<&mut dyn Tlps> {
        Some(&mut self.complex)
    }

    fn mark(&mut self, mark: HostMark) {
        self.mark = mark;
    }

    fn open_wave(&mut self, recording: &Recording) -> Result<(), DeviceFailure> {
        self.waves = Some(recording.clone());
        if let Some((log, _)) = &self.log {
            log.show();
        }
        if recording.window.from > self.clocks {
            self.turn = recording.window.from;
            return Ok(());
        }
        self.turn_waves()
    }

    fn close_wave(&mut self) -> Result<(), DeviceFailure> {
        self.turn = u64::MAX;
        self.end_waves();
        Ok(())
    }

    fn wave_time(&self) -> WaveTime {
        self.time.clone()
    }

    fn failed_at(&self) -> Option<u64> {
        self.failed
    }
}
