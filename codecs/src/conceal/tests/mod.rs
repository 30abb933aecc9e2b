mod appendix;
mod measure;
mod network;
mod promises;
mod quality;
