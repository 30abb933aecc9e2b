//! RTP packets byte by byte, written independently of the parser under test.

/// A packet to be. Every length is right unless [`PacketBuilder::bytes`] is damaged afterwards.
#[derive(Debug, Clone)]
pub struct PacketBuilder {
    ssrc: u32,
    seq: u16,
    time: u32,
    payload_type: u8,
    marker: bool,
    csrcs: Vec<u32>,
    extension: Option<(u16, Vec<u8>)>,
    padding: u8,
    payload: Vec<u8>,
}

/// A packet of SSRC 1, payload type 0, timestamp 0 and no payload.
pub fn packet(seq: u16) -> PacketBuilder {
    PacketBuilder {
        ssrc: 1,
        seq,
        time: 0,
        payload_type: 0,
        marker: false,
        csrcs: Vec::new(),
        extension: None,
        padding: 0,
        payload: Vec::new(),
    }
}

impl PacketBuilder {
    /// Sets the SSRC.
    #[must_use]
    pub fn ssrc(mut self, ssrc: u32) -> Self {
        self.ssrc = ssrc;
        self
    }

    /// Timestamp.
    #[must_use]
    pub fn time(mut self, time: u32) -> Self {
        self.time = time;
        self
    }

    /// Payload type, of which the low 7 bits count.
    #[must_use]
    pub fn payload_type(mut self, payload_type: u8) -> Self {
        self.payload_type = payload_type & 0x7F;
        self
    }

    /// Marker bit.
    #[must_use]
    pub fn marker(mut self, marker: bool) -> Self {
        self.marker = marker;
        self
    }

    /// Contributing sources, of which the first 15 count.
    #[must_use]
    pub fn csrcs(mut self, csrcs: &[u32]) -> Self {
        self.csrcs = csrcs.iter().copied().take(15).collect();
        self
    }

    /// Header extension; filled up with zeros to a multiple of 4 bytes.
    #[must_use]
    pub fn extension(mut self, profile: u16, body: &[u8]) -> Self {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(4), 0);
        self.extension = Some((profile, body));
        self
    }

    /// Padding behind the payload, in bytes; 0 for none.
    #[must_use]
    pub fn padding(mut self, padding: u8) -> Self {
        self.padding = padding;
        self
    }

    /// Payload.
    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// The datagram.
    pub fn bytes(&self) -> Vec<u8> {
        let padding = u8::from(self.padding > 0) << 5;
        let extension = u8::from(self.extension.is_some()) << 4;
        let mut bytes = vec![
            0x80 | padding | extension | self.csrcs.len() as u8,
            u8::from(self.marker) << 7 | self.payload_type,
        ];
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.time.to_be_bytes());
        bytes.extend(self.ssrc.to_be_bytes());
        for csrc in &self.csrcs {
            bytes.extend(csrc.to_be_bytes());
        }
        if let Some((profile, body)) = &self.extension {
            bytes.extend(profile.to_be_bytes());
            bytes.extend(((body.len() / 4) as u16).to_be_bytes());
            bytes.extend(body);
        }
        bytes.extend(&self.payload);
        if self.padding > 0 {
            bytes.resize(bytes.len() + usize::from(self.padding) - 1, 0);
            bytes.push(self.padding);
        }
        bytes
    }
}
