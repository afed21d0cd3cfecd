import MeshPrimitives

/// Something that a timer wakes.
public protocol TimerTarget: AnyObject {
  /// The deadline of the timer with this tag has passed. The timer is disarmed; it may be armed again here.
  func timerFired(_ tag: UInt8)
}

/// A deadline on an event loop. Arming it later than before, or disarming it, costs a store; see `TimerWheel`.
///
/// Owned by its target: the target is not retained, so the timer must not outlive it (a stored property of the target
/// is right). Confined to the loop's thread. A timer fires up to about 1 ms after its deadline, never before, and never
/// inside `arm`.
public final class Timer: TimerEntry {
  private let loop: EventLoop
  private unowned(unsafe) var target: (any TimerTarget)?
  private let tag: UInt8

  /// - Parameter tag: passed to `timerFired`, so that one target can have several timers.
  public init(_ loop: EventLoop, _ target: any TimerTarget, tag: UInt8 = 0) {
    self.loop = loop
    self.target = target
    self.tag = tag
  }

  /// A timer that is a constant of its target, which is named by `aim(at:)` when it is there: what is used for every
  /// request needs no counted reference then.
  public init(_ loop: EventLoop, tag: UInt8 = 0) {
    self.loop = loop
    self.tag = tag
  }

  /// Names the target, once.
  public func aim(at target: any TimerTarget) { self.target = target }

  deinit { if isLinked { loop.wheel.remove(self) } }

  /// Whether the timer will fire.
  public var isArmed: Bool { deadline != .never }

  /// Replaces the deadline. `.never` disarms.
  public func arm(at time: MonotonicTime) { loop.wheel.arm(self, at: time) }

  /// Replaces the deadline by `loop.now` plus `span`.
  public func arm(after span: Nanoseconds) { loop.wheel.arm(self, at: loop.now + span) }

  /// The timer will not fire until it is armed again.
  public func disarm() { deadline = .never }

  func fire() {
    // The target may let go of itself meanwhile.
    guard let target = self.target else { return }
    withExtendedLifetime(target) { target.timerFired(tag) }
  }
}
