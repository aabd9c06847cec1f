/** Pictures with smooth edges where there is no graphics card: multisampled beside the canvas, then copied onto it. */
import { Color, type PerspectiveCamera, PlaneGeometry, Mesh, OrthographicCamera, Scene, ShaderMaterial, Vector2, WebGLRenderTarget, type WebGLRenderer } from "three";

const SOFTWARE = /swiftshader|llvmpipe|software|basic render/i;
const SAMPLES = 4;

/** Asks a throw-away context: antialiasing must be known before the real one is made. */
export function rendersInSoftware(): boolean {
  const gl = document.createElement("canvas").getContext("webgl2");
  if (!gl) return true;
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  const name = String(info ? gl.getParameter(info.UNMASKED_RENDERER_WEBGL) : "");
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return SOFTWARE.test(name);
}

export class Smooth {
  private readonly target = new WebGLRenderTarget(1, 1, { samples: SAMPLES });
  private readonly copy = new Scene();
  private readonly flat = new OrthographicCamera(-1, 1, 1, -1, 0, 1);
  private readonly size = new Vector2();
  private readonly ground = new Color();

  constructor(private readonly renderer: WebGLRenderer) {
    const material = new ShaderMaterial({
      uniforms: { picture: { value: this.target.texture } }, depthTest: false, depthWrite: false,
      vertexShader: "varying vec2 at; void main() { at = uv; gl_Position = vec4(position.xy, 0.0, 1.0); }",
      fragmentShader: "uniform sampler2D picture; varying vec2 at; void main() { gl_FragColor = texture2D(picture, at); }",
    });
    const quad = new Mesh(new PlaneGeometry(2, 2), material);
    quad.frustumCulled = false;
    this.copy.add(quad);
  }

  /** The target keeps what the shaders write, so the ground must be given as it shall appear. */
  setGround(code: string): void {
    this.ground.setStyle(code, "");
  }

  draw(scene: Scene, camera: PerspectiveCamera): void {
    const { renderer, target } = this;
    renderer.getDrawingBufferSize(this.size);
    if (target.width !== this.size.x || target.height !== this.size.y) target.setSize(this.size.x, this.size.y);
    const before = renderer.getClearColor(new Color());
    renderer.setRenderTarget(target);
    renderer.setClearColor(this.ground, 1);
    renderer.render(scene, camera);
    renderer.setRenderTarget(null);
    renderer.setClearColor(before, 1);
    renderer.render(this.copy, this.flat);
  }
}
