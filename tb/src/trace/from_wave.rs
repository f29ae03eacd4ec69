//! The event log out of a wave, which shows its lines beside the device's signals.

use std::collections::BTreeMap;
use std::path::Path;

use wellen::SignalRef;
use wellen::simple::Waveform;

use super::event::Event;

/// The signals of `rtl/hmmu_sim_top.sv` that show lines: the number of each, and the line.
const LINES: &str = "host_log";

/// Is this a file of waves?
#[must_use]
pub fn is_wave(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| ["fst", "vcd"].contains(&ending))
}

/// The events that a wave shows, and how many between them it does not: there was no room for their lines.
///
/// # Errors
/// One line: the file cannot be read, or it shows no events.
pub fn read_wave(path: &Path) -> Result<(Vec<Event>, u64), String> {
    let name = path.display();
    let mut waves =
        wellen::simple::read(path).map_err(|error| format!("cannot read {name}: {error}"))?;
    let signals = signals(&waves);
    if signals.is_empty() {
        return Err(format!(
            "{name}: these waves are not hmmu's: no signal {LINES}"
        ));
    }
    waves.load_signals(&signals);
    let mut events: BTreeMap<u64, Event> = BTreeMap::new();
    for signal in signals {
        let Some(signal) = waves.get_signal(signal) else {
            continue;
        };
        for time in signal.time_indices() {
            let value = signal
                .get_offset(*time)
                .map(|at| signal.get_value_at(&at, 0));
            let bits = value.and_then(|value| value.to_bit_string());
            events.extend(bits.and_then(|bits| numbered(&text(&bits))));
        }
    }
    let (Some((first, _)), Some((last, _))) = (events.first_key_value(), events.last_key_value())
    else {
        return Err(format!("{name}: no events in these waves"));
    };
    let lost = last - first + 1 - events.len() as u64;
    Ok((events.into_values().collect(), lost))
}

fn signals(waves: &Waveform) -> Vec<SignalRef> {
    let hierarchy = waves.hierarchy();
    let lines = hierarchy.all_vars().map(|var| &hierarchy[var]);
    let lines = lines.filter(|var| var.full_name(hierarchy).contains(LINES));
    let mut signals: Vec<SignalRef> = lines.map(|var| var.signal_ref()).collect();
    signals.sort_unstable_by_key(|signal| signal.index());
    signals.dedup();
    signals
}

/// The characters of a value, eight bits each, without the empty ones before them.
fn text(bits: &str) -> String {
    let whole = bits.len().next_multiple_of(8);
    let bits = format!("{bits:0>whole$}");
    let bytes = bits.as_bytes().chunks(8).map(|byte| {
        let digits = byte.iter();
        digits.fold(0_u8, |value, bit| value << 1 | u8::from(*bit == b'1'))
    });
    bytes.filter(|byte| *byte != 0).map(char::from).collect()
}

/// A line's number and its event; `None` if it is none.
fn numbered(line: &str) -> Option<(u64, Event)> {
    let (number, event) = line.split_once(' ')?;
    Some((number.parse().ok()?, Event::parse(event)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_line() {
        let line = "7 42 main map start=0x7f00";
        let bits: String = line.bytes().map(|byte| format!("{byte:08b}")).collect();
        for bits in [
            &bits,
            &format!("{:064}{bits}", 0),
            bits.trim_start_matches('0'),
        ] {
            assert_eq!(text(bits), line);
        }
        let (number, event) = numbered(line).expect("an event");
        assert_eq!((number, event.to_string().as_str()), (7, &line[2..]));
        assert_eq!(numbered("42 main map"), None);
        assert_eq!(numbered(""), None);
    }
}
