//! RTCP packets byte by byte, written independently of the parser under test.

use crate::rtcp::SenderReport;

/// A packet of this type and count, its body filled up with zeros to a multiple of 4.
pub fn packet(kind: u8, count: u8, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let mut bytes = vec![0x80 | (count & 0x1F), kind];
    bytes.extend(((padded / 4) as u16).to_be_bytes());
    bytes.extend(body);
    bytes.resize(4 + padded, 0);
    bytes
}

/// SR with so many report blocks.
pub fn sender_report(report: &SenderReport, blocks: u8) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(report.ssrc.0.to_be_bytes());
    body.extend(report.ntp.to_be_bytes());
    body.extend(report.time.0.to_be_bytes());
    body.extend(report.packets.to_be_bytes());
    body.extend(report.octets.to_be_bytes());
    body.resize(24 + 24 * usize::from(blocks), 0);
    packet(200, blocks, &body)
}

/// RR with so many report blocks.
pub fn receiver_report(ssrc: u32, blocks: u8) -> Vec<u8> {
    let mut body = ssrc.to_be_bytes().to_vec();
    body.resize(4 + 24 * usize::from(blocks), 0);
    packet(201, blocks, &body)
}

/// SDES with one CNAME, cut at 255 bytes.
pub fn source_description(ssrc: u32, cname: &str) -> Vec<u8> {
    let name = &cname.as_bytes()[..cname.len().min(255)];
    let mut body = ssrc.to_be_bytes().to_vec();
    body.extend([1, name.len() as u8]);
    body.extend(name);
    // The end of the items; the filling is zeros as well.
    body.push(0);
    packet(202, 1, &body)
}

/// BYE of these sources, with a reason or without.
pub fn goodbye(ssrcs: &[u32], reason: Option<&str>) -> Vec<u8> {
    let mut body: Vec<u8> = ssrcs.iter().flat_map(|ssrc| ssrc.to_be_bytes()).collect();
    if let Some(reason) = reason {
        body.push(reason.len() as u8);
        body.extend(reason.as_bytes());
    }
    packet(203, ssrcs.len() as u8, &body)
}

/// APP of this name, without data.
pub fn application(ssrc: u32, name: [u8; 4]) -> Vec<u8> {
    packet(204, 0, &[ssrc.to_be_bytes(), name].concat())
}

/// XR with blocks of these types and lengths in words, zeros within.
pub fn extended_report(ssrc: u32, blocks: &[(u8, u16)]) -> Vec<u8> {
    let mut body = ssrc.to_be_bytes().to_vec();
    for (kind, words) in blocks {
        body.extend([*kind, 0]);
        body.extend(words.to_be_bytes());
        body.resize(body.len() + 4 * usize::from(*words), 0);
    }
    packet(207, 0, &body)
}
