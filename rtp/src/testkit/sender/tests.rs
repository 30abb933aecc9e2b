use super::*;
use crate::testkit::origin;
use crate::wire::RtpPacket;

type Payload = fn(Range<u64>, u8) -> Vec<u8>;

fn sender(config: SenderConfig) -> TestSender<Payload> {
    TestSender::new(config, origin(), |samples, _| {
        samples.start.to_be_bytes().to_vec()
    })
}

#[test]
fn the_log_is_what_the_datagrams_say() {
    let mut sender = sender(SenderConfig::default());
    sender.talk(300);
    sender.pause(Duration::from_millis(250), true);
    sender.press(11, Duration::from_millis(100));
    sender.other(13, &[40]);
    sender.jump_time(-100_000);
    sender.jump_seq(5_000);
    sender.talk(2);
    sender.change_source(7, 9, 11);
    sender.packet(37);
    sender.change_format(AudioFormat::G722);
    sender.talk(2);
    sender.raw(b"OPTIONS sip:x");
    let script = sender.finish();
    assert_eq!(script.log.len(), script.datagrams.len());
    assert_eq!(script.end, (300 * 160 + 2_000 + 800 + 320 + 37) * 2 + 640);
    for ((at, datagram), sent) in script.datagrams.iter().zip(&script.log) {
        assert_eq!(*at, sent.at);
        let Ok(packet) = RtpPacket::parse(datagram) else {
            assert_eq!(sent.carries, DatagramContent::Other);
            continue;
        };
        assert_eq!(
            (
                packet.ssrc.0,
                packet.seq.0,
                packet.time.0,
                packet.payload_type.get(),
                packet.marker
            ),
            (
                sent.ssrc,
                sent.seq,
                sent.time,
                sent.payload_type,
                sent.marker
            )
        );
        if let DatagramContent::Audio(samples) = &sent.carries {
            assert_eq!(packet.payload, samples.start.to_be_bytes());
        }
    }
    // Both numberings have wrapped.
    let (first, last) = (&script.log[0], &script.log[299]);
    assert!(last.seq < first.seq && last.time < first.time);
    assert_eq!(last.time.wrapping_sub(first.time), 299 * 160);
    assert!(script.log.is_sorted_by_key(|sent| sent.at));
}

#[test]
fn timestamps_and_times_follow_the_samples() {
    let mut sender = sender(SenderConfig {
        format: AudioFormat::G722,
        ..SenderConfig::default()
    });
    sender.talk(1);
    sender.pause(Duration::from_secs(1), true);
    sender.talk(1);
    sender.stick_time(true);
    sender.talk(2);
    sender.stick_time(false);
    sender.flood(10, 10);
    sender.talk(1);
    let script = sender.finish();
    let since = |index: usize| script.log[index].time.wrapping_sub(script.log[0].time);
    let ms = |index: usize| (script.log[index].at - origin()).as_millis();
    assert_eq!(
        (since(1), ms(1), script.log[1].marker),
        (8_160, 1_020, true)
    );
    assert_eq!((since(2), since(3), ms(3)), (8_320, 8_320, 1_060));
    assert_eq!((since(4), since(13)), (8_320, 8_320 + 9 * 160));
    assert_eq!((ms(4), ms(14)), (1_080, 1_100));
    assert_eq!(
        script.log[14].carries,
        DatagramContent::Audio(320 * 14 + 16_000..320 * 15 + 16_000)
    );
}

#[test]
fn a_key_is_sent_as_the_rfc_has_it() {
    let mut sender = sender(SenderConfig::default());
    sender.talk(1);
    sender.press(5, Duration::from_millis(50));
    sender.press(6, Duration::from_secs(9));
    sender.talk(1);
    let script = sender.finish();
    let key: Vec<_> = script
        .datagrams
        .iter()
        .zip(&script.log)
        .filter(|(_, sent)| sent.carries == DatagramContent::Key(0))
        .map(|((_, datagram), sent)| (datagram[12..].to_vec(), sent.time, sent.marker))
        .collect();
    let time = script.log[1].time;
    let news = |end: u8, ticks: u16, marker| {
        let [high, low] = ticks.to_be_bytes();
        (vec![5, end | 10, high, low], time, marker)
    };
    assert_eq!(
        key,
        [
            news(0, 160, true),
            news(0, 320, false),
            news(0x80, 400, false),
            news(0x80, 400, false),
            news(0x80, 400, false)
        ]
    );
    let starts: std::collections::BTreeSet<_> = script
        .log
        .iter()
        .filter(|sent| sent.carries == DatagramContent::Key(1))
        .map(|sent| sent.time.wrapping_sub(time))
        .collect();
    assert!(starts.into_iter().eq([400, 400 + 0xFFFF]));
    let after = script.log.last().map(|sent| sent.time.wrapping_sub(time));
    assert_eq!(after, Some(400 + 72_000));
    let keys: Vec<_> = script
        .keys
        .iter()
        .map(|key| (key.code, key.start))
        .collect();
    assert_eq!(keys, [(5, 160), (6, 560)]);
}
