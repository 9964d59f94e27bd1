// server.js PORT MODEL.onnx THRESHOLD: fastify and onnxruntime-node run the network of a `fast`
// model; they are beside $NODE_MODULES_BESIDE.
'use strict';
const { createRequire } = require('module');
const load = createRequire(process.env.NODE_MODULES_BESIDE || __filename);
const ort = load('onnxruntime-node');
const app = load('fastify')({ logger: false, bodyLimit: 1 << 26 });

const [port, path, text] = process.argv.slice(2);
const threshold = Number(text);

function verdict(error) {
  return { reconstruction_error: error, score: error / threshold, anomaly: error > threshold };
}

async function main() {
  const options = { intraOpNumThreads: 1, interOpNumThreads: 1, executionMode: 'sequential' };
  const session = await ort.InferenceSession.create(path, options);
  app.post('/score', async (request) => {
    const rows = request.body.instances || [request.body];
    const width = rows[0].length;
    const values = new Float32Array(rows.length * width);
    for (let i = 0; i < rows.length; i++) values.set(rows[i], i * width);
    const x = new ort.Tensor('float32', values, [rows.length, width]);
    const { error } = await session.run({ x });
    if (!request.body.instances) return { threshold, ...verdict(error.data[0]) };
    return { threshold, results: Array.from(error.data, verdict) };
  });
  await app.listen({ port: Number(port), host: '127.0.0.1' });
}

main();
