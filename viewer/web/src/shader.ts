/** The one material of the scene: neutral bodies by lightness, state colour and pattern by instance. Output is sRGB. */
import { Color, GreaterDepth, ShaderMaterial, type Texture, Vector3 } from "three";

export interface Ground {
  low: string;
  high: string;
  back: string;
  floor: string;
  lane: string;
  lamp: string;
  grey: string;
  bad: string;
}

/** Neutral tones by theme: bodies run from `low` to `high` by the lightness of their material. */
export const GROUNDS: Record<"dark" | "light", Ground> = {
  dark: { low: "#1b2026", high: "#939ca6", back: "#12161b", floor: "#1c2229", lane: "#262d35", lamp: "#39424c", grey: "#3a4149", bad: "#b78af0" },
  light: { low: "#5b646e", high: "#f7f8f9", back: "#e4e8ec", floor: "#f5f6f8", lane: "#e6eaee", lamp: "#c9cfd6", grey: "#c8cdd3", bad: "#7b3fc4" },
};

/** Parts a row of the texture that holds the looks of merged parts. */
export const ROW = 1024;

const VERTEX = /* glsl */ `
  attribute vec2 aSkin;
  #ifdef MERGED
  attribute float aPart;
  uniform highp sampler2D uLooks, uSignals;
  #else
  attribute vec4 aLook;
  attribute vec4 aSignal;
  #endif
  uniform vec3 uLow, uHigh, uFloor, uLane, uLamp;
  varying vec3 vColour;
  varying float vPattern;
  void main() {
    #ifdef MERGED
    ivec2 at = ivec2(int(aPart) % ${ROW}, int(aPart) / ${ROW});
    vec4 aLook = texelFetch(uLooks, at, 0);
    vec4 aSignal = texelFetch(uSignals, at, 0);
    vec3 n = normal;
    vec4 world = vec4(position, 1.0);
    #else
    vec3 n = normalize(mat3(instanceMatrix) * normal);
    vec4 world = instanceMatrix * vec4(position, 1.0);
    #endif
    float light = 0.66 + 0.24 * n.z + 0.16 * dot(n, vec3(-0.53, -0.80, 0.27));
    float tone = aSkin.x;
    float paint = aSkin.y;
    vec3 colour;
    vPattern = 0.0;
    if (paint > 2.5) {
      colour = aSignal.r < 0.0 ? uLamp * light : aSignal.rgb * (0.75 + 0.25 * light);
    } else if (paint > 0.5) {
      colour = (paint < 1.5 ? uFloor : uLane) * (0.55 + 0.5 * light);
      if (aLook.r >= 0.0) colour = mix(colour, aLook.rgb, 0.35);
    } else {
      vec3 body = mix(uLow, uHigh, tone) * light;
      colour = aLook.r < 0.0 ? body : aLook.rgb * (0.62 + 0.42 * tone) * (0.38 + 0.66 * light);
      vPattern = aLook.w;
    }
    vColour = colour;
    gl_Position = projectionMatrix * viewMatrix * world;
  }`;

const FRAGMENT = /* glsl */ `
  uniform vec3 uBack, uBad, uGrey;
  uniform float uStale, uGhost;
  varying vec3 vColour;
  varying float vPattern;
  void main() {
    vec3 colour = vColour;
    if (vPattern > 1.5) {
      vec2 cell = floor(gl_FragCoord.xy / 4.0);
      if (mod(cell.x + cell.y, 2.0) < 0.5) colour = uBad;
    } else if (vPattern > 0.5) {
      if (mod(gl_FragCoord.x + gl_FragCoord.y, 9.0) < 4.5) colour = mix(colour, uBack, 0.72);
    }
    float grey = dot(colour, vec3(0.3, 0.55, 0.15));
    colour = mix(colour, mix(vec3(grey), uGrey, 0.45), uStale * 0.85);
    gl_FragColor = vec4(colour, uGhost);
  }`;

const raw = (code: string): Vector3 => {
  const colour = new Color().setStyle(code, "");
  return new Vector3(colour.r, colour.g, colour.b);
};

export class Looks {
  private readonly uniforms = {
    uLow: { value: new Vector3() }, uHigh: { value: new Vector3() }, uFloor: { value: new Vector3() },
    uLane: { value: new Vector3() }, uLamp: { value: new Vector3() }, uBack: { value: new Vector3() },
    uBad: { value: new Vector3() }, uGrey: { value: new Vector3() }, uStale: { value: 0 },
  };
  readonly solid = new ShaderMaterial({
    uniforms: { ...this.uniforms, uGhost: { value: 1 } }, vertexShader: VERTEX, fragmentShader: FRAGMENT,
  });
  /** Exceptions shine through what stands before them. */
  readonly ghost = new ShaderMaterial({
    uniforms: { ...this.uniforms, uGhost: { value: 0.5 } }, vertexShader: VERTEX, fragmentShader: FRAGMENT,
    transparent: true, depthWrite: false, depthFunc: GreaterDepth,
  });

  /** For many parts in one mesh: their colours come from textures, a texel each. */
  merged(looks: Texture, signals: Texture): ShaderMaterial {
    return new ShaderMaterial({
      uniforms: { ...this.uniforms, uGhost: { value: 1 }, uLooks: { value: looks }, uSignals: { value: signals } }, defines: { MERGED: "" },
      vertexShader: VERTEX, fragmentShader: FRAGMENT,
    });
  }

  paint(ground: Ground): void {
    const set = (name: "uLow" | "uHigh" | "uFloor" | "uLane" | "uLamp" | "uBack" | "uBad" | "uGrey", code: string) =>
      this.uniforms[name].value.copy(raw(code));
    set("uLow", ground.low);
    set("uHigh", ground.high);
    set("uFloor", ground.floor);
    set("uLane", ground.lane);
    set("uLamp", ground.lamp);
    set("uBack", ground.back);
    set("uBad", ground.bad);
    set("uGrey", ground.grey);
  }

  /** Everything greys while nothing fresh comes. */
  stale(stale: boolean): void {
    this.uniforms.uStale.value = stale ? 1 : 0;
  }
}
